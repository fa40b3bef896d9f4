"""What a format is: it says whether a path is of it, and gives its samples one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec

from ...errors import WrongUsage
from ..place import Place
from ..problems import Problems
from ..samples import Sample, Utterance


class Lasts(NamedTuple):
    """How long a source says that an utterance's whole file lasts."""

    seconds: float
    slack: float = 0.1
    """Seconds by which the file may differ."""


class Found(NamedTuple):
    """A sample, and where it was found: of each utterance the row, and how long its file lasts, where that is said."""

    sample: Sample
    where: tuple[str, ...]
    lasts: tuple[Lasts | None, ...] = ()
    apart: bool = False
    """Whether it is said in a recording where one person's stretches can't overlap, for that is how they were said."""


class Format(ABC):
    """One format. A file of `formats` has one; it is listed in `FORMATS`."""

    name: ClassVar[str]
    about: ClassVar[str]
    """What it is, in a line."""
    writes: ClassVar[bool] = False

    @abstractmethod
    def recognises(self, place: Place) -> bool:
        """Whether the path looks like it: by names, and first rows."""

    @abstractmethod
    def read(self, place: Place, problems: Problems) -> Iterator[Found]:
        """The samples. What is wrong with a row is listed, and the row left out; media are not opened here."""

    def write(self, samples: Sequence[Sample], source: Path, out: Path) -> None:
        """The samples, whose media lie in `source`, into the empty folder `out`. Raises WrongUsage where the format is
        only read."""
        raise WrongUsage(f"{self.name} is only read; export as audio-folder, jsonl or lhotse")


def single(
    sample_id: str,
    utterance: Utterance,
    where: str,
    lasts: Lasts | None = None,
    *,
    group: str = "",
    apart: bool = False,
) -> Found:
    """A sample of one utterance."""
    return Found(Sample(id=sample_id, utterances=(utterance,), group=group), (where,), (lasts,), apart)


class Gathered:
    """Puts rows, one an utterance, back into samples: those of one dialogue belong together, in the order of their
    turns. All are held until the last, for nothing says that a dialogue's rows stand together."""

    def __init__(self) -> None:
        self._found: list[list[tuple[int, Utterance, str, Lasts | None]]] = []
        self._ids: list[tuple[str, str]] = []
        self._dialogues: dict[str, int] = {}

    def add(
        self,
        sample_id: str,
        utterance: Utterance,
        where: str,
        lasts: Lasts | None = None,
        *,
        turn: int | None = None,
        group: str = "",
    ) -> None:
        """With a `turn` it belongs to the dialogue `sample_id`, without one it is a sample of its own."""
        if turn is not None and sample_id in self._dialogues:
            self._found[self._dialogues[sample_id]].append((turn, utterance, where, lasts))
            return
        if turn is not None:
            self._dialogues[sample_id] = len(self._found)
        self._ids.append((sample_id, group))
        self._found.append([(turn or 0, utterance, where, lasts)])

    def all(self, problems: Problems) -> Iterator[Found]:
        for (sample_id, group), rows in zip(self._ids, self._found, strict=True):
            rows.sort(key=lambda row: row[0])
            turns = [row[0] for row in rows]
            if len(set(turns)) < len(turns):
                twice = next(turn for turn in turns if turns.count(turn) > 1)
                where = next(row[2] for row in reversed(rows) if row[0] == twice)
                problems.error(
                    "doubled", where, f"dialogue {sample_id!r} has two utterances with turn {twice}; number them"
                )
            sample = Sample(id=sample_id, utterances=tuple(row[1] for row in rows), group=group)
            yield Found(sample, tuple(row[2] for row in rows), tuple(row[3] for row in rows))


def row_of(sample: Sample, utterance: Utterance, turn: int) -> dict[str, Any]:
    """An utterance as a flat row under the names of `record.RESERVED`, without its sound and without what is empty:
    what `Record.utterance` makes the same utterance of again."""
    row: dict[str, Any] = {}
    if sample.is_dialogue:
        row |= {"dialogue": sample.id, "turn": turn}
        if utterance.id:
            row["id"] = utterance.id
    else:
        row["id"] = sample.id
        if utterance.id:
            row["utterance_id"] = utterance.id
    if sample.group:
        row["group"] = sample.group
    return row | references(utterance)


def references(utterance: Utterance) -> dict[str, Any]:
    """What is known of an utterance, without what is empty, and its other fields."""
    row = {
        name: value
        for name in ("text", "answer", "speaker", "emotion", "language", "consent", "source")
        if (value := getattr(utterance, name)) is not None and (value or name in ("text", "answer"))
    }
    when = msgspec.to_builtins(utterance.when)
    if when != {"rule": "after_reply"}:
        row["when"] = when
    return row | utterance.fields
