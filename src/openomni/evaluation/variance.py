"""Where a figure's scatter comes from, and how many more samples would settle what is tied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .checks import library
from .measured import Column, Table

MOST_MORE = 100
"""More samples than that many times those that there are settle nothing that one would pay for."""


def components(runs: Sequence[tuple[int, int, float]]) -> dict[str, Any] | None:
    """The variance of single runs, split: `sample`, between samples; `repeat`, between rounds of repeats, which a drift
    of the machine makes; `rest`, between runs of one sample.

    By the mean squares of samples × repeats (the method of moments, which is REML where no part is negative; one that
    is counts as 0). Over the samples that have all repeats, and values that ended.

    Returns:
        Variances in the unit's square and `samples` and `repeats` that they are of; with one repeat `sample` holds
        everything and the others are None. None for fewer than two samples.
    """
    rounds = sorted({repeat for _, repeat, _ in runs})
    cells = {(place, repeat): value for place, repeat, value in runs if math.isfinite(value)}
    places = sorted({place for place, _ in cells})
    whole = [place for place in places if all((place, repeat) in cells for repeat in rounds)]
    if len(whole) < 2:
        return None
    grid = np.array([[cells[place, repeat] for repeat in rounds] for place in whole])
    n, r = grid.shape
    if r == 1:
        return {"sample": float(grid.var(ddof=1)), "repeat": None, "rest": None, "samples": n, "repeats": 1}
    rows, columns, middle = grid.mean(axis=1), grid.mean(axis=0), grid.mean()
    of_rows, of_columns = r * float(rows.var(ddof=1)), n * float(columns.var(ddof=1))
    rest = float(((grid - rows[:, None] - columns + middle) ** 2).sum()) / ((n - 1) * (r - 1))
    return {
        "sample": max(0.0, (of_rows - rest) / r),
        "repeat": max(0.0, (of_columns - rest) / n),
        "rest": rest,
        "samples": n,
        "repeats": r,
    }


def settle(made: Table, column: Column, base: Column, power: float = 0.8) -> dict[str, Any] | None:
    """How many more samples, with as many repeats each, would tell with 80 % power a difference as large as the one
    seen. `more_samples` is None where that is over a hundred times those that there are.

    Which is a guess from a guess: the difference that was seen is uncertain itself.
    """
    both = np.isfinite(column.values) & np.isfinite(base.values)
    at = np.unique(made.clusters[both], return_inverse=True)[1]
    if len(at) == 0 or at.max() < 1:
        return None
    difference = column.values[both] - base.values[both]
    means = np.bincount(at, weights=difference) / np.bincount(at)
    units, sd, seen = len(means), float(means.std(ddof=1)), abs(float(means.mean()))
    reach = float(library("scipy.special").ndtri([0.975, power]).sum())
    needed = math.inf if seen <= 1e-12 * max(sd, 1e-300) else (reach * sd / seen) ** 2 + 2
    samples = len(at)
    if needed > MOST_MORE * units:
        return {"more_samples": None, "samples": samples}
    return {"more_samples": max(1, math.ceil(samples * needed / units) - samples), "samples": samples}
