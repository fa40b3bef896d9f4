"""Hugging Face's audio folder: media beside a table that names them by `file_name`.

The table is `metadata.csv`, `.jsonl` or `.parquet`, one for the folder or one for each subfolder, and paths in it
count from its own folder. A folder of sound without a table is one, too, whose subfolders are labels.
https://huggingface.co/docs/datasets/audio_load
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import msgspec

from ..copying import copy, cut, is_whole
from ..place import MEDIA, Place, folder_of, stem
from ..problems import Problems
from ..record import Record
from ..samples import Sample, Sound, Utterance
from ..tables import rows
from .interface import Format, Found, Gathered, row_of, single

TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FOLDER = "audio"
_MANIFESTS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".gz", ".scp")


class AudioFolder(Format):
    name: ClassVar[str] = "audio-folder"
    about: ClassVar[str] = "Hugging Face audio folder: media and metadata.csv, .jsonl or .parquet with file_name"
    writes: ClassVar[bool] = True

    def recognises(self, place: Place) -> bool:
        if _tables(place):
            return True
        # A manifest that nobody could read is not passed over in silence, as if there were only its sound.
        return place.file is None and any(map(_is_media, place.files())) and not place.find(_MANIFESTS)

    def read(self, place: Place, problems: Problems) -> Iterator[Found]:
        tables = _tables(place)
        if not tables:
            yield from _labelled(place, problems)
            return
        folders = [folder_of(table) for table in tables]
        for table, folder in zip(tables, folders, strict=True):
            if folders.count(folder) > 1:
                problems.error("format", table, "another table lies beside it; leave one of them there")
        gathered = Gathered()
        for table in tables:
            for where, values in rows(place, table, problems):
                _add(gathered, place, table, Record(where, values, problems), problems)
        yield from gathered.all(problems)

    def write(self, samples: Sequence[Sample], source: Path, out: Path) -> None:
        """Each file is whole, as its readers take it to be: what is a stretch of a longer one is cut out, as a WAV.
        Files are numbered, for a name like `train-1.wav` would make a split of its own."""
        place = Place(source)
        written: dict[Sound, str] = {}
        with (out / TABLES[1]).open("wb") as table:
            for sample in samples:
                for turn, utterance in enumerate(sample.utterances, 1):
                    name = written.get(utterance.sound)
                    if name is None:
                        name = _written(place, utterance.sound, out, len(written) + 1)
                        written[utterance.sound] = name
                    row: dict[str, Any] = {"file_name": name} | row_of(sample, utterance, turn)
                    table.write(msgspec.json.encode(row) + b"\n")


def _tables(place: Place) -> list[str]:
    return [name for name in place.find(TABLES) if PurePosixPath(name).name.lower() in TABLES]


def _is_media(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in MEDIA


def _labelled(place: Place, problems: Problems) -> Iterator[Found]:
    names = [name for name in place.files() if _is_media(name)]
    labels = {folder_of(name) for name in names}
    for name in names:
        path = place.media(name, name, problems)
        if path is not None:
            label = PurePosixPath(folder_of(name)).name
            fields = {"label": label} if len(labels) > 1 and label else {}
            yield single(stem(name), Utterance(sound=Sound(path), fields=fields), name)


def _add(gathered: Gathered, place: Place, table: str, row: Record, problems: Problems) -> None:
    name = row.take("file_name")
    if name is None:
        row.wrong("it has no `file_name`; name the file")
        return
    sound = row.sound(place.media(name, row.where, problems, base=folder_of(table)))
    dialogue, turn, group = row.name("dialogue"), row.count("turn"), row.name("group")
    row_id, utterance_id = row.name("id"), row.name("utterance_id")
    if dialogue and turn is None:
        row.wrong("it belongs to a dialogue and has no `turn`; number the utterances")
    utterance = row.utterance(sound, id=row_id if dialogue else utterance_id)
    if utterance is None:
        return
    if dialogue:
        gathered.add(dialogue, utterance, row.where, turn=turn, group=group)
        return
    at = f"@{utterance.sound.start:g}" if utterance.sound.start else ""
    gathered.add(row_id or stem(utterance.sound.path) + at, utterance, row.where, group=group)


def _written(place: Place, sound: Sound, out: Path, number: int) -> str:
    if is_whole(sound):
        name = f"{_FOLDER}/{number:06}{PurePosixPath(sound.path).suffix}"
        copy(place, sound.path, out / name)
    else:
        name = f"{_FOLDER}/{number:06}.wav"
        cut(place, sound, out / name)
    return name
