"""What erasing takes: the one registry of it, in which every table of a project stands.

Each app names its own where it defines them: `@erased(…)` says by which fields a row is found, `@kept("why")` that it
holds nothing that a person said or showed. `erasure` does it; a test refuses a table that is not named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, TypeVar

from django.db.models import Q, QuerySet

from .scoping import ProjectOwned

Owned = TypeVar("Owned", bound=type[ProjectOwned])


class Subject(StrEnum):
    """What is erased, and by what it is called: a participant by their code, all else by its id."""

    PARTICIPANT = "participant"
    SESSION = "session"
    TURN = "turn"
    RECORDING = "recording"


Way: TypeAlias = str | tuple[str, ...] | Callable[[Collection[str]], Q]
"""How rows are found by keys of a subject: paths of fields, or a condition that is made of the keys."""
CHUNK = 200
"""Keys of one statement: SQLite nests conditions 1000 deep at most."""


class Erased(NamedTuple):
    ways: Mapping[Subject, Way]
    is_subject: Subject | None
    """Each of its rows is such a subject by its primary key, so what is erased with that goes along."""


ERASED: dict[type[ProjectOwned], Erased] = {}
"""What a row points at stands before it: the last are erased first."""
KEPT: dict[type[ProjectOwned], str] = {}


def erased(itself: Subject | None = None, **ways: Way) -> Callable[[Owned], Owned]:
    """Rows of this table are erased with the subjects that are named: `session="turn__session"`. `itself`: each row is
    such a subject."""

    def register(model: Owned) -> Owned:
        ERASED[model] = Erased({Subject(name): way for name, way in ways.items()}, itself)
        return model

    return register


def kept(why: str) -> Callable[[Owned], Owned]:
    """Rows of this table stay whoever is erased; `why` is a sentence."""

    def register(model: Owned) -> Owned:
        KEPT[model] = why
        return model

    return register


def rows(
    model: type[ProjectOwned], project_id: str, keys: Mapping[Subject, Collection[str]]
) -> Iterator[QuerySet[ProjectOwned, Any]]:
    """Those of a table that are erased with these subjects, in some sets that may overlap."""
    for subject, way in ERASED[model].ways.items():
        for some in chunks(keys.get(subject, ())):
            yield model.objects.filter(_condition(way, some), project_id=project_id)


def chunks(keys: Collection[Any]) -> Iterator[list[Any]]:
    left = iter(keys)
    while some := list(islice(left, CHUNK)):
        yield some


def _condition(way: Way, keys: list[str]) -> Q:
    if callable(way):
        return way(keys)
    condition = Q()
    for path in (way,) if isinstance(way, str) else way:
        condition |= Q(**{f"{path}__in": keys})
    return condition
