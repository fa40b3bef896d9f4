"""What is wrong with a dataset, listed all at once: each with where it is and what mends it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal, TypeAlias

import msgspec

from ..bounds import MAX_LINE, Line, stored
from ..errors import WrongUsage, nearest

Severity = Literal["error", "warning"]
Kind: TypeAlias = Literal[
    "format",  # it is none that we know, or its layout is incomplete
    "row",  # a row without what it needs, or with what it can't have
    "encoding",  # text that is no UTF-8
    "bounds",  # too many, too long, too large, no number
    "missing",  # a file that a row names and that is not there
    "outside",  # what leaves the dataset's folder
    "broken",  # media that can't be decoded
    "silent",
    "doubled",  # an id, or the same sound, twice
    "unfit",  # text that does not fit how long its sound lasts; a file that lasts otherwise than its row says
    "segment",  # a stretch outside of its file
    "overlap",
    "unnamed",  # a file that no row names
]
ACCEPTABLE: tuple[Kind, ...] = ("silent", "doubled", "unfit", "overlap", "unnamed")
"""What may be accepted: with all others there is nothing to take, or nobody can say what."""
MAX_PROBLEMS = 10_000
"""Listed; how many more there are is the last line."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong; an `error` takes nothing. `where` is a file and its row, `what` ends with the mend."""

    severity: Severity
    where: Line
    what: Line


class Problems:
    """Collects them. Errors of the kinds in `accept` (of `ACCEPTABLE`) are warnings; raises WrongUsage for others."""

    def __init__(self, accept: Collection[str] = ()) -> None:
        for kind in accept:
            if kind not in ACCEPTABLE:
                raise WrongUsage(f"{kind!r} is nothing that can be accepted; {nearest(kind, ACCEPTABLE)}")
        self._accept = frozenset(accept)
        self._listed: list[Problem] = []
        self._errors = 0
        self._more = 0

    def error(self, kind: Kind, where: str, what: str) -> None:
        if kind in self._accept:
            self.warning(kind, where, what)
            return
        self._errors += 1
        self._add("error", where, what)

    def warning(self, kind: Kind, where: str, what: str) -> None:
        self._add("warning", where, what)

    @property
    def errors(self) -> int:
        return self._errors

    def listed(self) -> tuple[Problem, ...]:
        """All of them, in the order in which they were found."""
        if not self._more:
            return tuple(self._listed)
        severity: Severity = "error" if self._errors else "warning"
        rest = Problem(severity, "", f"{self._more} more; mend those above and look again")
        return (*self._listed, rest)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.listed())

    def __len__(self) -> int:
        return len(self._listed) + self._more

    def _add(self, severity: Severity, where: str, what: str) -> None:
        if len(self._listed) >= MAX_PROBLEMS:
            self._more += 1
            return
        self._listed.append(Problem(severity, line(where), line(what)))


def line(text: str) -> str:
    """One printable line of it, whatever a file's name or a row's value is made of."""
    text = stored(text).replace("\r", " ").replace("\n", " ")
    return text if len(text) <= MAX_LINE else text[: MAX_LINE - 1] + "…"


def shown(value: object) -> str:
    """A row's value, short enough to be quoted."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
