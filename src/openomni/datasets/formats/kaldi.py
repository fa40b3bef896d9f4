"""Kaldi's data folders: tables of lines, each an id and what it has.

`wav.scp` (recording, file), `segments` (utterance, recording, start, end), `text`, `utt2spk`, `utt2lang`,
`spk2gender`, `reco2dur`. Without `segments` each recording is one utterance. Commands in `wav.scp` are never run.
https://kaldi-asr.org/doc/data_prep.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ..place import Place, folder_of
from ..problems import Problems, shown
from ..record import Record
from ..tables import lines
from .interface import Format, Found, Lasts, single


class Kaldi(Format):
    name: ClassVar[str] = "kaldi"
    about: ClassVar[str] = "Kaldi data folder: wav.scp, and segments, text, utt2spk, utt2lang, spk2gender, reco2dur"

    def recognises(self, place: Place) -> bool:
        return bool(_folders(place))

    def read(self, place: Place, problems: Problems) -> Iterator[Found]:
        folders = _folders(place)
        if not folders:
            problems.error("format", place.root.name, "no wav.scp is there; a Kaldi data folder has one")
        for folder in folders:
            yield from _Folder(place, folder, problems).read()


def _folders(place: Place) -> list[str]:
    if place.file is not None:
        return [""] if place.file == "wav.scp" else []
    return [folder_of(name) for name in place.files() if name.rpartition("/")[2] == "wav.scp"]


class _Folder:
    def __init__(self, place: Place, folder: str, problems: Problems) -> None:
        self._place, self._folder, self._problems = place, folder, problems
        self._recordings = self._table("wav.scp")
        self._durations = self._table("reco2dur")
        self._more: dict[str, dict[str, tuple[str, str]]] = {
            name: self._table(name) for name in ("text", "utt2spk", "utt2lang", "spk2gender")
        }
        self._paths: dict[str, str | None] = {}

    def _name(self, table: str) -> str:
        return f"{self._folder}/{table}" if self._folder else table

    def _table(self, table: str) -> dict[str, tuple[str, str]]:
        """Id → where its line is, and the rest of it."""
        name = self._name(table)
        found: dict[str, tuple[str, str]] = {}
        if not self._place.has(name):
            return found
        before, sorted_ = "", True
        for number, line in lines(self._place, name, self._problems):
            if not line.strip():
                continue
            key, _, value = line.strip().replace("\t", " ").partition(" ")
            where = f"{name}:{number}"
            if key in found:
                self._problems.error("doubled", where, f"{shown(key)} stands there twice; take one line out")
            elif sorted_ and key.encode("utf-8", "replace") < before.encode("utf-8", "replace"):
                sorted_ = False
                self._problems.warning("format", where, "it is not sorted, as Kaldi's own tools want it: LC_ALL=C sort")
            before = key
            found[key] = (where, value.strip())
        return found

    def read(self) -> Iterator[Found]:
        seen: set[str] = set()
        if self._place.has(self._name("segments")):
            used: set[str] = set()
            for key, (where, value) in self._table("segments").items():
                seen.add(key)
                parts = value.split()
                if len(parts) not in (3, 4):
                    self._problems.error(
                        "row", where, "a line has an utterance, a recording, a start and an end; write all of them"
                    )
                    continue
                used.add(parts[0])
                row = Record(where, {"start": parts[1], "end": parts[2]}, self._problems)
                start, end = row.time("start"), row.number("end")
                if start is not None and end is not None:
                    yield from self._found(key, row, parts[0], start, None if end == -1 else end)
            for key in self._recordings.keys() - used:
                self._problems.error(
                    "unnamed",
                    self._recordings[key][0],
                    f"no segment is of recording {shown(key)}; take it out or add its segments",
                )
        else:
            for key, (where, _) in self._recordings.items():
                seen.add(key)
                yield from self._found(key, Record(where, {}, self._problems), key, 0.0, None)
        for table in ("text", "utt2spk", "utt2lang"):
            for key, (where, _) in self._more[table].items():
                if key not in seen:
                    self._problems.error(
                        "row",
                        where,
                        f"there is no utterance {shown(key)}; take the line out or add it "
                        f"to {'segments' if seen else 'wav.scp'}",
                    )

    def _found(self, key: str, row: Record, recording: str, start: float, end: float | None) -> Iterator[Found]:
        if recording not in self._recordings:
            row.wrong(f"there is no recording {shown(recording)} in wav.scp; add it or take the line out")
            return
        path = self._path(recording)
        sound = row.stretch(path, start, end, channel=None)
        speaker = self._more["utt2spk"].get(key, ("", ""))[1]
        values: dict[str, Any] = {"speaker": speaker or None, "language": self._of("utt2lang", key)}
        if key in self._more["text"]:
            values["text"] = self._more["text"][key][1]
        if (gender := self._of("spk2gender", speaker)) is not None:
            values["gender"] = gender
        told = Record(row.where, values, self._problems)
        utterance = told.utterance(sound)
        if utterance is not None and row.ok:
            yield single(key, utterance, row.where, self._lasts(recording))

    def _of(self, table: str, key: str) -> str | None:
        return self._more[table][key][1] if key in self._more[table] else None

    def _path(self, recording: str) -> str | None:
        """Of a recording, looked up once, so that what is wrong with it is listed once."""
        if recording not in self._paths:
            where, value = self._recordings[recording]
            self._paths[recording] = None
            if value.endswith("|") or value.startswith("|"):
                self._problems.error(
                    "outside",
                    where,
                    f"{shown(value)} is a command, and none is run; run it, and write the file that it makes",
                )
            elif value == "-" or (":" in value and value.rpartition(":")[2].isdigit() and not self._place.has(value)):
                self._problems.error(
                    "row", where, f"{shown(value)} is a place in an archive; write each sound as a file"
                )
            else:
                self._paths[recording] = self._place.media(value, where, self._problems, base=self._folder)
        return self._paths[recording]

    def _lasts(self, recording: str) -> Lasts | None:
        if recording not in self._durations:
            return None
        where, value = self._durations[recording]
        duration = Record(where, {"duration": value}, self._problems).time("duration")
        return None if duration is None else Lasts(duration)
