"""NVIDIA NeMo's manifests: JSON lines with `audio_filepath`, `duration`, `text`, and `offset` for a stretch of a file.

https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ..place import Place, folder_of, stem
from ..problems import Problems
from ..record import Record
from ..tables import first, json_rows
from .interface import Format, Found, Lasts, single

_FILE = "audio_filepath"


class Nemo(Format):
    name: ClassVar[str] = "nemo"
    about: ClassVar[str] = "NeMo manifest: JSON lines with audio_filepath, duration, offset, text"

    def recognises(self, place: Place) -> bool:
        return any(_FILE in first(place, name) for name in _manifests(place))

    def read(self, place: Place, problems: Problems) -> Iterator[Found]:
        manifests = [name for name in _manifests(place) if place.file or _FILE in first(place, name)]
        if not manifests:
            problems.error(
                "format", place.root.name, "no manifest with `audio_filepath` is there; write one line a sample"
            )
        for manifest in manifests:
            for where, values in json_rows(place, manifest, problems):
                found = _found(place, manifest, Record(where, values, problems), problems)
                if found is not None:
                    yield found


def _manifests(place: Place) -> list[str]:
    return place.find((".json", ".jsonl", ".json.gz", ".jsonl.gz"))


def _found(place: Place, manifest: str, row: Record, problems: Problems) -> Found | None:
    name = row.take(_FILE)
    if name is None:
        row.wrong(f"it has no `{_FILE}`; name the file")
        return None
    path = place.media(name, row.where, problems, base=folder_of(manifest))
    offset, duration = row.time("offset"), row.time("duration")
    if duration is None and row.ok:
        row.wrong("it has no `duration`; write the seconds that it lasts")
    if not row.ok or duration is None:
        return None
    # Without an offset the whole file is meant, and the duration is the file's own.
    whole = offset is None
    sound = row.stretch(path, offset or 0.0, None if whole else (offset or 0.0) + duration)
    row_id = row.name("id", "utt_id")
    utterance = row.utterance(sound)
    if utterance is None:
        return None
    made = row_id or stem(utterance.sound.path) + ("" if whole else f"@{offset:g}")
    return single(made, utterance, row.where, Lasts(duration) if whole else None)
