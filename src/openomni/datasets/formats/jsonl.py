"""JSON lines, one sample a line: our own manifest, and the one that describes a single recording.

A line is an utterance (`path`, and `start`, `end`, `text`, `answer`, …) or a dialogue (`id`, `utterances`: a list of
such objects). Where no `path` is given, the media is the one beside the manifest that has its name: `talk.jsonl`,
`talk.mp4`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import msgspec

from ..copying import copy_media
from ..place import MEDIA, Place, folder_of, stem
from ..problems import Problems
from ..record import Record
from ..samples import MAX_UTTERANCES, Sample, Utterance
from ..tables import first, json_rows
from .interface import Format, Found, references, single

MANIFEST = "samples.jsonl"


class Jsonl(Format):
    name: ClassVar[str] = "jsonl"
    about: ClassVar[str] = "JSON lines, one sample a line; of one recording, or of files that each line names"
    writes: ClassVar[bool] = True

    def recognises(self, place: Place) -> bool:
        return any(self._ours(place, name) for name in _manifests(place))

    def _ours(self, place: Place, name: str) -> bool:
        keys = first(place, name).keys()
        if PurePosixPath(name).name.startswith("metadata."):
            return False
        return bool({"path", "utterances"} & keys) or ({"start", "end"} <= keys and _beside(place, name) is not None)

    def read(self, place: Place, problems: Problems) -> Iterator[Found]:
        manifests = [name for name in _manifests(place) if place.file or self._ours(place, name)]
        if not manifests:
            problems.error("format", place.root.name, "no manifest (*.jsonl) is there; write one line a sample")
        for manifest in manifests:
            for number, (where, values) in enumerate(json_rows(place, manifest, problems), 1):
                found = _found(place, manifest, number, Record(where, values, problems), problems)
                if found is not None:
                    yield found

    def write(self, samples: Sequence[Sample], source: Path, out: Path) -> None:
        copy_media(samples, source, out, taken={MANIFEST})
        with (out / MANIFEST).open("wb") as file:
            for sample in samples:
                file.write(msgspec.json.encode(_line(sample)) + b"\n")


def _manifests(place: Place) -> list[str]:
    return place.find((".jsonl", ".json", ".jsonl.gz") if place.file else (".jsonl", ".jsonl.gz"))


def _beside(place: Place, manifest: str) -> str | None:
    """The media of the manifest's own name."""
    base = stem(manifest.removesuffix(".gz"))
    return next((base + ending for ending in sorted(MEDIA) if place.has(base + ending)), None)


def _found(place: Place, manifest: str, number: int, row: Record, problems: Problems) -> Found | None:
    sample_id, group = row.name("id"), row.name("group")
    parts = row.take("utterances")
    if parts is None:
        alone = "path" not in row
        utterance = _utterance(place, manifest, row, problems)
        made = sample_id or f"{stem(manifest.removesuffix('.gz'))}-{number}"
        return None if utterance is None else single(made, utterance, row.where, group=group, apart=alone)
    if not isinstance(parts, list) or not 1 <= len(parts) <= MAX_UTTERANCES:
        row.wrong(f"`utterances` is no list of 1 to {MAX_UTTERANCES} objects; write one for each utterance")
        return None
    if not sample_id:
        row.wrong("a dialogue needs an `id`; name it")
    if left := row.rest():
        row.wrong(f"a dialogue has no {next(iter(left))!r} of its own; write it into its utterances")
    utterances = []
    for place_in_it, part in enumerate(parts, 1):
        if not isinstance(part, dict):
            row.wrong(f"utterance {place_in_it} is no object; write {{…}}")
            continue
        record = Record(f"{row.where} utterance {place_in_it}", part, problems)
        utterances.append(_utterance(place, manifest, record, problems, id=record.name("id")))
    whole = [each for each in utterances if each is not None]
    if not row.ok or len(whole) < len(parts):
        return None
    wheres = tuple(f"{row.where} utterance {n}" for n in range(1, len(parts) + 1))
    return Found(Sample(id=sample_id, utterances=tuple(whole), group=group), wheres)


def _utterance(place: Place, manifest: str, row: Record, problems: Problems, id: str = "") -> Utterance | None:
    id = id or row.name("utterance_id")
    name = row.take("path")
    if name is None:
        name = _beside(place, manifest)
        if name is None:
            row.wrong(
                f"it names no `path`, and no recording called {stem(manifest)} lies beside the manifest; name the file"
            )
            return row.utterance(None)
        path = place.media(name, row.where, problems)
    else:
        path = place.media(name, row.where, problems, base=folder_of(manifest))
    return row.utterance(row.sound(path), id=id)


def _line(sample: Sample) -> dict[str, Any]:
    start: dict[str, Any] = {"id": sample.id} | ({"group": sample.group} if sample.group else {})
    if sample.is_dialogue:
        parts = [({"id": each.id} if each.id else {}) | _part(each) for each in sample.utterances]
        return start | {"utterances": parts}
    only = sample.utterances[0]
    return start | ({"utterance_id": only.id} if only.id else {}) | _part(only)


def _part(utterance: Utterance) -> dict[str, Any]:
    sound: dict[str, Any] = msgspec.to_builtins(utterance.sound)
    return sound | references(utterance)
