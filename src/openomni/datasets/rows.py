"""The samples of a dataset as they were read, each within bounds and with an id of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .formats.interface import Found, Lasts
from .problems import Problems
from .samples import AtTime, IntoReply, Utterance, checked


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
        self._check_times(found)
        first = self._ids.setdefault(sample.id, where)
        if first != where:
            self._problems.error("doubled", where, f"its id {sample.id!r} is that of {first}, too; give it another")
        self.found.append(found._replace(sample=sample))

    def _check_times(self, found: Found) -> None:
        """Lists a dialogue that can't be played: one that begins with a reply, or goes back in time."""
        before = 0.0
        for turn, utterance in enumerate(found.sample.utterances):
            when = utterance.when
            if isinstance(when, IntoReply) and not turn:
                self._problems.error(
                    "row",
                    found.where[turn],
                    "it is said into a reply, and nothing was said before; let it come later in its dialogue",
                )
            if isinstance(when, AtTime):
                if when.seconds < before:
                    self._problems.error(
                        "row",
                        found.where[turn],
                        f"it is said at {when.seconds:g} s, which is before "
                        f"{before:g} s, when another was; put them in order",
                    )
                before = max(before, when.seconds)

    def said(self) -> Iterator[Said]:
        """All utterances, in their order."""
        for number, (sample, where, lasts, apart) in enumerate(self.found):
            for turn, utterance in enumerate(sample.utterances):
                told = lasts[turn] if turn < len(lasts) else None
                yield Said(number, turn, utterance, where[turn], told, apart)
