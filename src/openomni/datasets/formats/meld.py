"""MELD: tables of utterances, and one clip each, `dia{D}_utt{U}.mp4`, a folder for each part of the set.

A table (`train_sent_emo.csv`, …) has `Utterance`, `Speaker`, `Emotion`, `Sentiment`, `Dialogue_ID`, `Utterance_ID`,
`Season`, `Episode`, `StartTime`, `EndTime`; the times are those of the episode. Each utterance is a sample, those of a
dialogue form a group. https://github.com/declare-lab/MELD
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar

from ..place import Place
from ..problems import Problems
from ..record import Record
from ..samples import Sound
from ..tables import csv_rows, header
from .interface import Format, Found, Lasts, single

_PARTS = ("train", "dev", "test")
_NEEDED = {"Dialogue_ID", "Utterance_ID", "Utterance"}
_TIME = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})[,.](\d{1,3})")
_CLIP = re.compile(r"dia\d+_utt\d+\.\w+")
SLACK_S = 5.0
"""Seconds by which a clip may last longer or shorter than its row says: those cut wrongly last minutes."""


class Meld(Format):
    name: ClassVar[str] = "meld"
    about: ClassVar[str] = "MELD: CSV with Dialogue_ID, Utterance_ID, Emotion, Sentiment, and dia{D}_utt{U}.mp4"

    def recognises(self, place: Place) -> bool:
        return any(header(place, name) >= _NEEDED for name in place.find(".csv"))

    def read(self, place: Place, problems: Problems) -> Iterator[Found]:
        tables = [name for name in place.find(".csv") if header(place, name) >= _NEEDED]
        if not tables:
            problems.error("format", place.root.name, f"no table with {', '.join(sorted(_NEEDED))} is there; add one")
        clips = _Clips(place)
        for table in tables:
            part = _part(table)
            turns: dict[int, set[int]] = {}
            for where, values in csv_rows(place, table, problems):
                found = _found(place, clips, part, Record(where, values, problems), turns)
                if found is not None:
                    yield found
            for dialogue, its in turns.items():
                absent = sorted(set(range(max(its) + 1)) - its)[:5] if max(its) < 10_000 else []
                if absent:
                    problems.warning(
                        "row",
                        table,
                        f"dialogue {dialogue} has no utterance {', '.join(map(str, absent))}; "
                        "what was said there is not known",
                    )


def _part(name: str) -> str:
    """Which part of the set a path is of: its nearest name that says so."""
    for each in reversed(PurePosixPath(name).parts):
        for part in _PARTS:
            if part in re.split(r"[^a-z]+", each.lower()):
                return part
    return ""


class _Clips:
    """Where the clips lie: by part of the set, and name."""

    def __init__(self, place: Place) -> None:
        self._by: dict[tuple[str, str], str] = {}
        self._all: dict[str, list[str]] = {}
        for path in place.files():
            name = PurePosixPath(path).name
            if _CLIP.fullmatch(name) and not name.endswith((".csv", ".txt", ".json")):
                stem = name.partition(".")[0]
                self._by.setdefault((_part(path), stem), path)
                self._all.setdefault(stem, []).append(path)

    def find(self, part: str, stem: str) -> str:
        found = self._by.get((part, stem))
        # Where no folder says its part, there is but one clip of the name.
        anywhere = self._all.get(stem, []) if not part or not any(its == part for its, _ in self._by) else []
        return found or (anywhere[0] if len(anywhere) == 1 else f"{stem}.mp4")


def _found(place: Place, clips: _Clips, part: str, row: Record, turns: dict[int, set[int]]) -> Found | None:
    dialogue, turn = row.count("Dialogue_ID", high=1_000_000), row.count("Utterance_ID", high=1_000_000)
    text, speaker, emotion = row.text("Utterance"), row.name("Speaker"), row.name("Emotion")
    if dialogue is None or turn is None:
        if row.ok:
            row.wrong("it has no Dialogue_ID or no Utterance_ID; number it")
        return None
    turns.setdefault(dialogue, set()).add(turn)
    if text is None and row.ok:
        row.wrong("it has no `Utterance`; write what is said")
    stem = f"dia{dialogue}_utt{turn}"
    path = place.media(clips.find(part, stem), row.where, row.problems)
    start, end = row.text("StartTime", limit=100), row.text("EndTime", limit=100)
    said = _lasts(row, start, end)
    times = {name: value for name, value in (("StartTime", start), ("EndTime", end)) if value is not None}
    fields = row.rest() | times
    if path is None or not row.ok:
        return None
    prefix = f"{part}-" if part else ""
    clean = Record(row.where, {"text": text, "speaker": speaker, "emotion": emotion, "language": "en"}, row.problems)
    utterance = clean.utterance(Sound(path), fields=fields)
    if utterance is None:
        return None
    return single(prefix + stem, utterance, row.where, said, group=f"{prefix}dia{dialogue}")


def _lasts(row: Record, start: str | None, end: str | None) -> Lasts | None:
    if start is None or end is None:
        return None
    times = [_TIME.fullmatch(each.strip()) for each in (start, end)]
    if times[0] is None or times[1] is None:
        row.wrong(f"its times are {start!r} and {end!r}; write HH:MM:SS,mmm")
        return None
    first, last = (_seconds(match) for match in times if match)
    if last <= first:
        row.problems.warning("segment", row.where, f"it ends at {end}, which is not after its start at {start}")
        return None
    return Lasts(last - first, SLACK_S)


def _seconds(time: re.Match[str]) -> float:
    hours, minutes, whole, thousandths = time.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + int(thousandths.ljust(3, "0")) / 1000
