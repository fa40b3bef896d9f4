"""Lhotse's manifests: recordings and supervisions, or cuts, as JSON lines, packed with gzip or not.

Read and written by their documented layout, without Lhotse. Each supervision is an utterance; a recording without any
manifest of supervisions is one, too. https://lhotse.readthedocs.io/en/latest/corpus.html
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from ..copying import copy_media
from ..listening import layout
from ..place import Place, folder_of
from ..problems import Problems, shown
from ..record import Record
from ..samples import Sample, Sound, Utterance, seconds
from ..tables import first, json_rows
from .interface import Format, Found, Gathered, Lasts, row_of

RECORDINGS, SUPERVISIONS = "recordings.jsonl.gz", "supervisions.jsonl.gz"
_FIELDS = ("text", "speaker", "language", "gender", "alignment")
"""Of a supervision, beside where it is; what we know more stands in its `custom`."""


class Lhotse(Format):
    name: ClassVar[str] = "lhotse"
    about: ClassVar[str] = "Lhotse manifests: recordings and supervisions, or cuts, .jsonl or .jsonl.gz"
    writes: ClassVar[bool] = True

    def recognises(self, place: Place) -> bool:
        return any(_kind(first(place, name)) for name in _manifests(place))

    def read(self, place: Place, problems: Problems) -> Iterator[Found]:
        kinds = {name: _kind(first(place, name)) for name in _manifests(place)}
        if place.file is not None and kinds.get(place.file) in ("recordings", "supervisions"):
            # One of a pair was named: the other lies beside it.
            kinds |= {
                name: _kind(first(place, name)) for name in place.files() if name.endswith((".jsonl", ".jsonl.gz"))
            }
            kinds = {name: kind for name, kind in kinds.items() if kind != "cuts"}
        for name in (name for name, kind in kinds.items() if not kind):
            if next(json_rows(place, name, problems), None) is not None:
                problems.warning("format", name, "it is no manifest of Lhotse's; it is left out")
        of = {kind: [name for name in kinds if kinds[name] == kind] for kind in ("recordings", "supervisions", "cuts")}
        gathered = Gathered()
        if of["recordings"]:
            for name in of["cuts"]:
                problems.warning(
                    "format", name, "recordings lie beside these cuts and are read; name this file to read it"
                )
            _pairs(place, of["recordings"], of["supervisions"], gathered, problems)
        elif of["cuts"]:
            for where, values, name in _rows(place, of["cuts"], problems):
                _cut(place, where, values, folder_of(name), gathered, problems)
        else:
            problems.error(
                "format",
                place.root.name,
                "there is no manifest of recordings or of cuts; write one beside the supervisions",
            )
        yield from gathered.all(problems)

    def write(self, samples: Sequence[Sample], source: Path, out: Path) -> None:
        copy_media(samples, source, out, taken={RECORDINGS, SUPERVISIONS})
        recordings: dict[str, dict[str, Any]] = {}
        supervisions = []
        for sample in samples:
            for turn, utterance in enumerate(sample.utterances, 1):
                name, recording = _recording(out, utterance.sound)
                recordings.setdefault(name, recording)
                supervisions.append(_supervision(sample, utterance, turn, recordings[name]))
        _save(out / RECORDINGS, recordings.values())
        _save(out / SUPERVISIONS, supervisions)


def _manifests(place: Place) -> list[str]:
    return place.find((".jsonl", ".jsonl.gz"))


def _kind(row: dict[str, Any]) -> str:
    keys = row.keys()
    if {"sources", "sampling_rate"} <= keys:
        return "recordings"
    if {"recording_id", "start", "duration"} <= keys:
        return "supervisions"
    return "cuts" if str(row.get("type", "")).endswith("Cut") or {"recording", "supervisions"} <= keys else ""


def _rows(place: Place, names: Iterable[str], problems: Problems) -> Iterator[tuple[str, dict[str, Any], str]]:
    for name in names:
        for where, values in json_rows(place, name, problems):
            yield where, values, name


class _Recording:
    """One of a manifest: its file, where it is one that can be used, and its channels."""

    def __init__(self, place: Place, where: str, values: Any, base: str, problems: Problems) -> None:
        self.where, self._problems = where, problems
        row = Record(where, values if isinstance(values, dict) else {}, problems)
        self.id = row.name("id")
        self.duration = row.time("duration")
        self._sources: list[tuple[str, list[int]]] = []
        sources = row.take("sources")
        if not self.id or self.duration is None or not isinstance(sources, list) or not sources:
            row.wrong("a recording has an id, a duration and a list of sources; write them")
            return
        if row.take("transforms"):
            row.wrong("it is transformed as it is read, which nothing here does; save its sound as it should be")
            return
        for source in sources:
            found = self._source(place, source, base)
            if found is not None:
                self._sources.append(found)

    def _source(self, place: Place, source: Any, base: str) -> tuple[str, list[int]] | None:
        kind = source.get("type") if isinstance(source, dict) else None
        channels = source.get("channels") if isinstance(source, dict) else None
        if kind != "file":
            self._problems.error(
                "outside", self.where, f"a source is of type {shown(kind)}, and only files are read; save it as a file"
            )
            return None
        if not isinstance(channels, list) or not channels or not all(type(each) is int for each in channels):
            self._problems.error("row", self.where, f"`channels` of a source is {shown(channels)}; write them as [0]")
            return None
        path = place.media(source.get("source"), self.where, self._problems, base=base)
        return None if path is None else (path, channels)

    def sound(self, row: Record, channel: Any, start: float, duration: float) -> Sound | None:
        """A stretch of the channels that a supervision or a cut is of."""
        wanted = channel if isinstance(channel, list) else [channel]
        if not wanted or not all(type(each) is int for each in wanted):
            row.wrong(f"`channel` is {shown(channel)}; write its number, from 0")
            return None
        if not self._sources:
            return None  # and why, is listed where the recording is
        path, channels = next((each for each in self._sources if wanted[0] in each[1]), ("", []))
        if not path:
            row.wrong(f"recording {shown(self.id)} has no channel {wanted[0]}; correct one of them")
            return None
        its: int | None = None
        if len(channels) > 1 and set(wanted) != set(channels):
            if len(wanted) > 1:
                row.wrong(f"channels {wanted} are some of {channels}; take one or all")
                return None
            its = channels.index(wanted[0]) + 1
        return row.stretch(path, start, start + duration, channel=its)

    @property
    def lasts(self) -> Lasts | None:
        return None if self.duration is None else Lasts(self.duration)

    @property
    def channels(self) -> list[int]:
        return [channel for _, channels in self._sources for channel in channels] or [0]


def _pairs(
    place: Place, recordings: list[str], supervisions: list[str], gathered: Gathered, problems: Problems
) -> None:
    known: dict[str, _Recording] = {}
    for where, values, name in _rows(place, recordings, problems):
        recording = _Recording(place, where, values, folder_of(name), problems)
        if recording.id in known:
            problems.error("doubled", where, f"recording {recording.id!r} is there twice; take one out")
        elif recording.id:
            known[recording.id] = recording
    used: set[str] = set()
    for where, values, _ in _rows(place, supervisions, problems):
        row = Record(where, values, problems)
        its = row.name("recording_id")
        used.add(its)
        if its not in known:
            row.wrong(f"there is no recording {shown(its)}; add it or take the supervision out")
        _supervised(known.get(its), row, 0.0, gathered, problems)
    for its in known.keys() - used if supervisions else ():
        problems.error("unnamed", known[its].where, f"no supervision is of recording {its!r}; take it out or add one")
    for its, recording in known.items() if not supervisions else ():
        row = Record(recording.where, {}, problems)
        if recording.duration:
            channels = recording.channels
            sound = recording.sound(row, channels[0] if len(channels) == 1 else channels, 0.0, recording.duration)
            if sound is not None:
                gathered.add(its, Utterance(sound=sound), recording.where, recording.lasts)


def _cut(place: Place, where: str, values: dict[str, Any], base: str, gathered: Gathered, problems: Problems) -> None:
    row = Record(where, values, problems)
    kind = row.take("type") or "MonoCut"
    if kind not in ("MonoCut", "MultiCut"):
        row.wrong(f"it is a {shown(kind)}, which is of no single recording; save its sound and describe that")
        return
    cut_id, start, duration, channel = row.name("id"), row.time("start"), row.time("duration"), row.take("channel")
    recording = _Recording(place, where, row.take("recording"), base, problems)
    supervisions = row.take("supervisions") or []
    if not cut_id or start is None or duration is None or not isinstance(supervisions, list):
        row.wrong("a cut has an id, a start, a duration and a list of supervisions; write them")
        return
    for each in supervisions:
        part = Record(where, each if isinstance(each, dict) else {}, problems)
        # Cuts of one recording share it, and may show the same supervision.
        part.take("recording_id")
        _supervised(recording, part, start, gathered, problems)
    if not supervisions:
        sound = recording.sound(row, 0 if channel is None else channel, start, duration)
        utterance = row.utterance(sound, fields=_custom(row))
        if utterance is not None:
            gathered.add(cut_id, utterance, where, recording.lasts)


def _custom(row: Record) -> dict[str, Any]:
    custom = row.take("custom")
    if custom is None:
        return {}
    if not isinstance(custom, dict):
        row.wrong(f"`custom` is {shown(custom)}; write an object")
        return {}
    return Record(row.where, custom, row.problems).rest()


def _supervised(
    recording: _Recording | None, row: Record, offset: float, gathered: Gathered, problems: Problems
) -> None:
    """A supervision, as an utterance; `offset`: what its start counts from."""
    row_id, start, duration, channel = row.name("id"), row.number("start"), row.time("duration"), row.take("channel")
    custom = row.take("custom") or {}
    if not row_id or start is None or duration is None or not isinstance(custom, dict):
        row.wrong("a supervision has an id, a start, a duration, and `custom`, if any, is an object; write them")
        return
    if start + offset < 0:
        row.wrong(f"it starts at {start + offset:g} s, before its recording; correct it")
    if recording is None or not row.ok:
        return
    sound = recording.sound(row, 0 if channel is None else channel, start + offset, duration)
    own = {name: value for name in _FIELDS if (value := row.take(name)) is not None}
    told = Record(row.where, {**custom, **own, **row.rest()}, problems)
    dialogue, turn, group = told.name("dialogue"), told.count("turn"), told.name("group")
    track, utterance_id = told.count("track", low=1, high=100), told.name("utterance_id")
    if sound is not None and track is not None:
        sound = msgspec.structs.replace(sound, track=track)
    utterance = told.utterance(sound, id=utterance_id)
    if utterance is None or not row.ok:
        return
    if dialogue and turn is not None:
        gathered.add(dialogue, utterance, row.where, recording.lasts, turn=turn, group=group)
    else:
        gathered.add(row_id, utterance, row.where, recording.lasts, group=group)


def _recording(out: Path, sound: Sound) -> tuple[str, dict[str, Any]]:
    """Id and row of the recording that a stretch is of."""
    name = sound.path if sound.track is None else f"{sound.path}#{sound.track}"
    told = layout(out / sound.path, sound.track)
    channels = list(range(told.channels))
    source = {"type": "file", "channels": channels, "source": sound.path}
    duration = told.samples / told.rate
    return name, {
        "id": name,
        "sources": [source],
        "sampling_rate": told.rate,
        "num_samples": told.samples,
        "duration": duration,
        "channel_ids": channels,
    }


def _supervision(sample: Sample, utterance: Utterance, turn: int, recording: dict[str, Any]) -> dict[str, Any]:
    sound, channels = utterance.sound, recording["channel_ids"]
    row = row_of(sample, utterance, turn)
    row.pop("id", None)
    if utterance.id:
        row["utterance_id"] = utterance.id
    if sound.track is not None:
        row["track"] = sound.track
    end = recording["duration"] if sound.end is None else min(sound.end, recording["duration"])
    channel: Any = channels if len(channels) > 1 else 0
    made = {
        "id": f"{sample.id}-{turn}" if sample.is_dialogue else sample.id,
        "recording_id": recording["id"],
        "start": sound.start,
        "duration": seconds(end - sound.start),
        "channel": channel if sound.channel is None else sound.channel - 1,
    }
    for name in ("text", "language", "speaker"):
        if name in row:
            made[name] = row.pop(name)
    if isinstance(row.get("gender"), str):
        made["gender"] = row.pop("gender")
    if _is_alignment(row.get("alignment")):
        made["alignment"] = row.pop("alignment")
    return made | ({"custom": row} if row else {})


def _is_alignment(value: Any) -> bool:
    """Whether it is one that Lhotse reads: by kind, lists of symbol, start, duration and perhaps a score."""
    return isinstance(value, dict) and all(
        isinstance(items, list)
        and all(isinstance(item, list) and len(item) in (3, 4) and isinstance(item[0], str) for item in items)
        for items in value.values()
    )


def _save(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")
