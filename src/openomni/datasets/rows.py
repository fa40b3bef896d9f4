"""The samples of a dataset as they were read, each within bounds and with an id of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .formats.interface import Found, Lasts
from .problems import Problems
from .samples import Utterance, checked


class Said(NamedTuple):
    """An utterance where it was found: `sample` and `turn` count from 0."""

    sample: int
    turn: int
    utterance: Utterance
    where: str
    lasts: Lasts | None
    apart: bool


class Rows:
    """Takes them one after another; what is out of bounds, or has an id that is there already, is listed."""

    def __init__(self, problems: Problems) -> None:
        self.found: list[Found] = []
        self._problems = problems
        self._ids: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.found)

    def add(self, found: Found) -> None:
        where = found.where[0] if found.where else found.sample.id
        try:
            sample = checked(found.sample)
        except ValueError as error:
            self._problems.error("bounds", where, f"it is out of bounds: {error}; correct it")
            return
        first = self._ids.setdefault(sample.id, where)
        if first != where:
            self._problems.error("doubled", where, f"its id {sample.id!r} is that of {first}, too; give it another")
        self.found.append(found._replace(sample=sample))

    def said(self) -> Iterator[Said]:
        """All utterances, in their order."""
        for number, (sample, where, lasts, apart) in enumerate(self.found):
            for turn, utterance in enumerate(sample.utterances):
                told = lasts[turn] if turn < len(lasts) else None
                yield Said(number, turn, utterance, where[turn], told, apart)
