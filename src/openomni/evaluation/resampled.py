"""Clusters drawn again, and the order of what comes of it: quantiles of weighted samples, and swapped labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import Floats, library

Places = npt.NDArray[np.intp]
_BLOCK = 1 << 20
"""Numbers that are held at once: 8 MB."""
MOST, LEAST = 2999, 999
"""Resamples of few samples, and of many: what they add to the error of p is far below .01."""


def how_often(n: int) -> int:
    """As many resamples as n samples need no longer than a moment for."""
    return int(min(MOST, max(LEAST, 300_000 // max(n, 1))))


def weights(clusters: Places, m: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Clusters drawn with replacement, m times: how often each sample comes, in blocks of rows."""
    units = int(clusters.max()) + 1
    for rows in blocks(m, max(len(clusters), units)):
        drawn = rng.multinomial(units, np.full(units, 1 / units), rows).astype(np.float64)
        yield drawn[:, clusters]


def blocks(m: int, n: int) -> Iterator[int]:
    """m rows of n values, in parts that fit into little memory."""
    most = max(1, _BLOCK // max(n, 1))
    for start in range(0, m, most):
        yield min(most, m - start)


def weighted_quantile(values: Floats, drawn: Floats, q: float) -> Floats:
    """The quantile of each row's sample, linear between neighbours: `drawn` says how often each value comes. NaN where
    a row has none."""
    order = np.argsort(values, kind="stable")
    row = values[order]
    upto = np.cumsum(drawn[:, order], axis=1)
    place = q * (upto[:, -1] - 1)
    with np.errstate(invalid="ignore"):
        under, over = (_at(row, upto, each) for each in (np.floor(place), np.ceil(place)))
        found = np.where(under == over, under, under + (over - under) * (place - np.floor(place)))
    return np.where(upto[:, -1] > 0, found, np.nan)


def _at(row: Floats, upto: Floats, place: Floats) -> Floats:
    """The value at a place of each row's sorted sample."""
    at = np.count_nonzero(upto <= place[:, None] + 1e-9, axis=1)
    found: Floats = row[np.minimum(at, len(row) - 1)]
    return found


def quantile_of(values: Floats, q: float) -> float:
    """As numpy has it, save that what is between two that never ended never ended, and is not NaN."""
    row = np.sort(values)
    place = q * (len(row) - 1)
    under, over = row[math.floor(place)], row[math.ceil(place)]
    return float(under if under == over else under + (over - under) * (place - math.floor(place)))


def quantile_difference(
    a: Floats, b: Floats, clusters: Places, q: float, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """The interval of q of a − q of b, by drawing clusters of pairs; None twice where an end is endless.

    The tails are those of t rather than of the normal distribution, as few clusters need them.
    """
    units = int(clusters.max()) + 1
    found = [
        weighted_quantile(a, drawn, q) - weighted_quantile(b, drawn, q)
        for drawn in weights(clusters, how_often(len(a)), rng)
    ]
    drawn = np.concatenate(found)
    special = library("scipy.special")
    tail = float(special.ndtr(-math.sqrt(units / (units - 1)) * special.stdtrit(units - 1, 0.975)))
    low = float(np.quantile(np.where(np.isnan(drawn), -np.inf, drawn), tail, method="lower"))
    high = float(np.quantile(np.where(np.isnan(drawn), np.inf, drawn), 1 - tail, method="higher"))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def swapped(a: Floats, b: Floats, clusters: Places, q: float, rng: np.random.Generator) -> float:
    """The two-sided p of q of a − q of b, by swapping the labels of whole clusters: as likely as not where it does not
    matter which pipeline it was. All patterns where there are no more than are drawn; else (b + 1) ÷ (m + 1)."""
    units, m = int(clusters.max()) + 1, how_often(len(a))
    seen = _apart(quantile_of(a, q), quantile_of(b, q))
    finite = np.concatenate([a[np.isfinite(a)], b[np.isfinite(b)]])
    least = seen - 1e-9 * (float(np.abs(finite).max()) if len(finite) else 0.0)
    whole = units < 40 and 2 ** (units - 1) <= m
    as_far, done = 0, 0
    for rows in blocks(2 ** (units - 1) if whole else m, len(a)):
        if whole:  # the first is held: each pattern and its opposite are equally far from 0
            numbers = np.arange(done, done + rows)[:, None]
            pattern = (numbers >> np.maximum(np.arange(units) - 1, 0)) & 1
            pattern[:, 0] = 0
        else:
            pattern = rng.integers(0, 2, (rows, units))
        done += rows
        swap = pattern[:, clusters].astype(bool)
        first = _quantiles(np.where(swap, b, a), q)
        second = _quantiles(np.where(swap, a, b), q)
        as_far += int(np.count_nonzero(_apart(first, second) >= least))
    return as_far / done if whole else (as_far + 1) / (done + 1)


def _quantiles(rows: Floats, q: float) -> Floats:
    """Of each row."""
    place = q * (rows.shape[1] - 1)
    low, high = math.floor(place), math.ceil(place)
    parted = np.partition(rows, (low, high), axis=1)
    under, over = parted[:, low], parted[:, high]
    with np.errstate(invalid="ignore"):
        return np.where(under == over, under, under + (over - under) * (place - low))


def _apart(first: Any, second: Any) -> Any:
    """How far two are apart: two that never ended not at all, one that did from one that did not endlessly."""
    with np.errstate(invalid="ignore"):
        return np.where(np.equal(first, second), 0.0, np.abs(np.subtract(first, second)))
