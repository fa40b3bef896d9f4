"""IEMOCAP: `Session*/dialog` with `EmoEvaluation`, `transcriptions` and `wav`, a file a conversation of two actors in
each.

An evaluation's line is `[start - end]`, the turn's name, its emotion, and valence, activation and dominance; the lines
under it are those of the raters. A transcription's line is the turn's name, `[start-end]:` and what is said. Each turn
is a sample, those of a conversation form a group. https://sail.usc.edu/iemocap/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, ClassVar

from ..place import Place
from ..problems import Problems, shown
from ..record import Record
from ..samples import Sound
from ..tables import lines
from .interface import Format, Found, single

_EVALUATION = re.compile(r"\[([^\]]*?)\s+-\s+([^\]]*)\]\s+(\S+)\s+(\S+)\s+\[([^\]]*)\]")
_TRANSCRIPTION = re.compile(r"(\S+)\s+\[([\d.]+)-([\d.]+)\]:\s*(.*)")
_TURN = re.compile(r"(Ses\d+)[FM]_(impro|script).*_([FM])\w+")
_SCENARIO = {"impro": "improvised", "script": "scripted"}
_MEASURES = ("valence", "activation", "dominance")
_RATERS = re.compile(r"[CA]-\w+:")


class Iemocap(Format):
    name: ClassVar[str] = "iemocap"
    about: ClassVar[str] = "IEMOCAP: Session*/dialog with EmoEvaluation, transcriptions and wav"

    def recognises(self, place: Place) -> bool:
        return place.file is None and bool(_evaluations(place))

    def read(self, place: Place, problems: Problems) -> Iterator[Found]:
        evaluations = _evaluations(place)
        if not evaluations:
            problems.error(
                "format", place.root.name, "no dialog/EmoEvaluation/*.txt is there; a release has one in each Session*"
            )
        for name in evaluations:
            yield from _conversation(place, name, problems)


def _evaluations(place: Place) -> list[str]:
    """Those of whole conversations; the folders of single raters lie deeper."""
    return [name for name in place.files() if PurePosixPath(name).match("dialog/EmoEvaluation/*.txt")]


def _conversation(place: Place, evaluation: str, problems: Problems) -> Iterator[Found]:
    conversation = PurePosixPath(evaluation).stem
    dialog = PurePosixPath(evaluation).parent.parent
    said = _transcription(place, str(dialog / "transcriptions" / f"{conversation}.txt"), problems)
    whole = str(dialog / "wav" / f"{conversation}.wav")
    apart = dialog.parent / "sentences" / "wav" / conversation
    # A release has each conversation whole, as a film and in pieces: one of them is taken.
    place.spare.update(
        name
        for name in place.files()
        if name.startswith(f"{apart}/") or (PurePosixPath(name).stem == conversation and name.startswith(f"{dialog}/"))
    )
    path: str | None = None
    if place.has(whole) or not any(each.startswith(f"{apart}/") for each in place.files()):
        path = place.media(whole, evaluation, problems)
        if path is None:
            return
    for row, turn, start, end, emotion, fields in _turns(place, evaluation, problems):
        where, text = said.pop(turn, ("", None))
        if text is None:
            problems.warning("row", row.where, f"nothing is transcribed of {shown(turn)}; its text is not known")
        if path is not None:
            sound = row.stretch(path, start, end)
        else:
            # The release without whole conversations has a file for each turn.
            own = place.media(str(apart / f"{turn}.wav"), row.where, problems)
            sound = None if own is None else Sound(own)
        parts = _TURN.fullmatch(turn)
        if parts is None:
            row.wrong(f"{shown(turn)} is no turn's name, as Ses01F_impro01_F000 is; correct it")
            continue
        session, scenario, voice = parts.groups()
        values = {"text": text, "speaker": f"{session}{voice}", "emotion": emotion, "language": "en"}
        told = Record(row.where, values, problems)
        utterance = told.utterance(sound, fields={"scenario": _SCENARIO[scenario], **fields})
        if utterance is not None and row.ok:
            yield single(turn, utterance, row.where, group=conversation, apart=True)
    for turn, (where, _) in said.items():
        problems.warning("row", where, f"{shown(turn)} is transcribed, but nobody evaluated it; it is left out")


def _turns(
    place: Place, name: str, problems: Problems
) -> Iterator[tuple[Record, str, float, float, str, dict[str, Any]]]:
    """Of each evaluated turn: its row, name, start, end, emotion, and the numbers and raters' lines that belong to
    it."""
    pending: tuple[Record, str, float, float, str, dict[str, Any]] | None = None
    for number, line in lines(place, name, problems):
        where, line = f"{name}:{number}", line.strip()
        if not line or line.startswith("%"):
            continue
        if _RATERS.match(line):
            if pending is not None and len(raters := pending[5].setdefault("raters", [])) < 50:
                raters.append(line)
            continue
        if pending is not None:
            yield pending
            pending = None
        match = _EVALUATION.fullmatch(line)
        if match is None:
            problems.error(
                "row", where, "it is no line of an evaluation: [start - end], turn, emotion, [v, a, d]; correct it"
            )
            continue
        start, end, turn, emotion, measured = match.groups()
        numbers = [each.strip() for each in measured.split(",")]
        if len(numbers) != len(_MEASURES):
            problems.error("row", where, "it has no three measures [valence, activation, dominance]; write them")
            continue
        row = Record(where, {"start": start, "end": end, **dict(zip(_MEASURES, numbers, strict=True))}, problems)
        times = row.time("start"), row.time("end")
        fields = {name: row.number(name) for name in _MEASURES}
        if times[0] is not None and times[1] is not None and row.ok:
            pending = row, turn, times[0], times[1], emotion, fields
    if pending is not None:
        yield pending


def _transcription(place: Place, name: str, problems: Problems) -> dict[str, tuple[str, str]]:
    """Turn → where its line is, and what is said."""
    said: dict[str, tuple[str, str]] = {}
    if not place.has(name):
        problems.warning("format", name, "it is not there; what is said is not known")
        return said
    for number, line in lines(place, name, problems):
        match = _TRANSCRIPTION.fullmatch(line.strip())
        if match is not None:
            said.setdefault(match[1], (f"{name}:{number}", match[4]))
        elif line.strip():
            problems.warning(
                "row", f"{name}:{number}", "it is no turn's line: name, [start-end]: and text; it is left out"
            )
    return said
