"""What the functions of evaluation take: what doesn't fit is refused in one line that says what, where and the mend."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Iterable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import installs
from ..errors import OpenOmniError

Floats = npt.NDArray[np.float64]

LARGEST = 1e100
"""Of a value: its square is still a number, and so is the sum of many."""
MOST = 2**53
"""Of a count: a float still holds it exactly."""


def library(name: str) -> Any:
    """A module of the extra, imported when it is first needed.

    Raises:
        OpenOmniError: it isn't installed; the line says how it is.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise OpenOmniError(
            f"openomni.evaluation needs {missing}, which is not installed; {installs.line('evaluation')}"
        ) from None


def numbers(values: Iterable[float], what: str = "values", *, endless: bool = False) -> Floats:
    """A row of numbers; `endless` lets +inf pass, which is what never ended."""
    if isinstance(values, (str, bytes, dict)):
        raise ValueError(f"{what} are {type(values).__name__}; give a list of numbers")
    given = values if isinstance(values, np.ndarray) else listed(values, what)
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{what} are no row of numbers; give a flat list of them") from None
    if array.size and array.dtype.kind not in "biuf":
        place, wrong = next(((at, each) for at, each in enumerate(given) if not _is_number(each)), (0, given[0]))
        mend = "leave out what is missing, and say how many" if wrong is None else "give numbers only"
        raise ValueError(f"{what}[{place}] is {_shown(wrong)}, no number; {mend}")
    if array.ndim != 1:
        raise ValueError(f"{what} have {array.ndim} dimensions; give a flat list of numbers")
    row = array.astype(np.float64)
    wrong_at = ~((np.abs(row) <= LARGEST) | (endless & (row == np.inf)))
    if wrong_at.any():
        place = int(np.argmax(wrong_at))
        raise ValueError(f"{what}[{place}] is {row[place]:g}; give finite numbers, and leave out what is missing")
    return row


def _is_number(value: object) -> bool:
    if isinstance(value, (np.floating, np.integer)):
        value = value.item()
    return isinstance(value, (bool, np.bool_)) or (isinstance(value, (int, float)) and abs(value) <= LARGEST)


def _undefined(value: object) -> bool:
    """NaN, NaT or pandas' NA: what isn't equal to itself."""
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return True


def listed(values: Any, what: str) -> list[Any]:
    try:
        return list(values)
    except TypeError:
        raise ValueError(f"{what} are {_shown(values)}; give a list") from None


def _shown(value: object) -> str:
    """On one line, however long it is."""
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 40 else f"{shown[:39]}…"


def same_length(a: Sequence[Any] | Floats, b: Sequence[Any] | Floats, what: str) -> None:
    if len(a) != len(b):
        raise ValueError(f"{what} are {len(a)} and {len(b)}; give as many of the one as of the other")


def count(value: Any, what: str, least: int = 0, most: int = MOST) -> int:
    """A whole number from `least` to `most`."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    try:
        whole = operator.index(value)
    except TypeError:
        raise ValueError(f"{what} is {_shown(value)}; give a whole number") from None
    if isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{what} is {value}; give a whole number")
    if whole < least:
        raise ValueError(f"{what} is {_shown(whole)}; give {least} or more")
    if whole > most:
        raise ValueError(f"{what} is {_shown(whole)}; give {most} at most")
    return whole


def share(value: Any, what: str) -> float:
    """Strictly between 0 and 1."""
    if isinstance(value, (bool, np.bool_)) or not _is_number(value) or not 0 < value < 1:
        raise ValueError(f"{what} is {_shown(value)}; give a number between 0 and 1, such as 0.95")
    return float(value)


def table(rows: Iterable[Iterable[float]], what: str, *, whole: bool = True, square: bool = False) -> Floats:
    """Rows of numbers, none negative, all as long as the first."""
    made = [numbers(row, f"{what}[{at}]") for at, row in enumerate(_rows(rows, what))]
    for at, row in enumerate(made):
        if len(row) != len(made[0]):
            raise ValueError(f"{what}[{at}] has {len(row)} columns, the first row {len(made[0])}; make them equal")
        if (row < 0).any():
            raise ValueError(f"{what}[{at}] has {row.min():g}; a count is 0 or more")
        if whole and (row != np.floor(row)).any():
            raise ValueError(f"{what}[{at}] has a fraction; give whole counts")
    if square and made and len(made) != len(made[0]):
        raise ValueError(f"{what} has {len(made)} rows and {len(made[0])} columns; give as many of both")
    return np.array(made) if made else np.empty((0, 0))


def choice(value: Any, what: str, names: Iterable[str]) -> str:
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"the {what} is {_shown(value)}; give one of {', '.join(names)}")
    return value


def _rows(rows: Any, what: str) -> list[Any]:
    if isinstance(rows, (str, bytes, dict)):
        raise ValueError(f"{what} are {type(rows).__name__}; give a list of rows")
    return listed(rows, what)


def ratings(rows: Iterable[Iterable[Any]]) -> list[list[Hashable]]:
    """Raters in rows, units in columns, None where one gave none."""
    made: list[list[Hashable]] = []
    for at, row in enumerate(_rows(rows, "ratings")):
        if isinstance(row, (str, bytes, dict)):
            raise ValueError(f"ratings[{at}] is {type(row).__name__}; give a list of that rater's ratings")
        made.append([_rating(each, at, unit) for unit, each in enumerate(listed(row, f"ratings[{at}]"))])
        if len(made[at]) != len(made[0]):
            raise ValueError(
                f"ratings[{at}] has {len(made[at])} units, the first row {len(made[0])}; give None where one is missing"
            )
    return made


def _rating(value: Any, rater: int, unit: int) -> Hashable:
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, Hashable):
        raise ValueError(f"ratings[{rater}][{unit}] is {_shown(value)}; give a number, a text or None")
    if value is not None and _undefined(value):
        raise ValueError(f"ratings[{rater}][{unit}] is NaN; give None where one is missing")
    return value


def scale(rows: list[list[Hashable]], *, ratio: bool = False) -> Floats:
    """Ratings as numbers, NaN where one is missing: for the inside of a function only."""
    made = np.full((len(rows), len(rows[0]) if rows else 0), np.nan)
    for rater, row in enumerate(rows):
        for unit, each in enumerate(row):
            if each is None:
                continue
            if not _is_number(each):
                raise ValueError(
                    f"ratings[{rater}][{unit}] is {_shown(each)}; this level needs finite numbers, nominal takes names"
                )
            if ratio and each < 0:  # type: ignore[operator]
                raise ValueError(f"ratings[{rater}][{unit}] is {each}; a ratio scale begins at 0: use interval")
            made[rater, unit] = each
    return made


def places(clusters: Iterable[Hashable], n: int) -> npt.NDArray[np.intp]:
    """Of each value the number of its cluster, from 0 in the order in which they come first."""
    if isinstance(clusters, (str, bytes, dict)):
        raise ValueError(f"clusters are {type(clusters).__name__}; give a list with a name for each value")
    names = listed(clusters, "clusters")
    same_length(names, range(n), "clusters and values")
    seen: dict[Hashable, int] = {}
    for at, name in enumerate(names):
        if not isinstance(name, Hashable) or name is None or _undefined(name):
            raise ValueError(f"clusters[{at}] is {_shown(name)}; name the cluster of each value")
        seen.setdefault(name, len(seen))
    return np.array([seen[name] for name in names], dtype=np.intp)


def drawing(resamples: Any, seed: Any) -> tuple[int, np.random.Generator]:
    """How often to draw, and the generator that draws: the same seed draws the same."""
    return count(resamples, "resamples", 1), np.random.default_rng(count(seed, "seed"))
