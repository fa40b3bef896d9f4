"""One pipeline's figure and its difference from the baseline's on the same samples, for each statistic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import intervals
from .checks import Floats, library
from .measured import QUANTILES, Column, Table
from .paired import mcnemar, sign_flip
from .resampled import Places, quantile_difference, quantile_of, swapped

MIN_PAIRS = 6
"""Of fewer paired samples, or clusters, not even a test that all of them agree on can be below .05."""
STUDENTISED = 1999
Ends = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Figure:
    """A pipeline's own figure."""

    value: float | None
    interval: Ends
    reason: str = ""
    """Why there is no number."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """pipeline − baseline, over the samples that both have. `shift` is its sign where it is endless and so None."""

    pairs: int
    clusters: int
    difference: float | None
    interval: Ends
    p: float | None
    test: str
    shift: float = 0.0
    reason: str = ""


def figure(table: Table, column: Column, statistic: str, seed: int) -> Figure:
    """The figure of one pipeline, over all its samples that have one."""
    if statistic == "rate" and table.is_corpus:
        known = np.isfinite(column.totals)
        return _rate(column.errors[known], column.totals[known], _renumbered(table.clusters[known]), seed)
    known = ~np.isnan(column.values)
    values, clusters = column.values[known], _renumbered(table.clusters[known])
    if statistic in QUANTILES:
        return _quantile(values, clusters, QUANTILES[statistic], seed)
    if len(values) == 0:
        return Figure(None, None, "nothing was scored")
    endless = int(np.isinf(values).sum())
    if endless:
        return Figure(None, None, f"{endless} of {len(values)} samples failed or were not answered: no mean")
    if statistic == "rate" and _each_its_own(clusters) and np.isin(values, (0, 1)).all():
        low, high = intervals.wilson(int(values.sum()), len(values))
        return Figure(float(values.mean()), _ends(low, high))
    value, low, high = intervals.mean(values, clusters)
    if statistic == "rate" and low is not None and high is not None and ((values >= 0) & (values <= 1)).all():
        low, high = max(0.0, low), min(1.0, high)
    return Figure(value, _ends(low, high))


def contrast(table: Table, column: Column, baseline: Column, statistic: str, seed: int) -> Contrast:
    """The difference of one pipeline from the baseline, paired by sample."""
    if statistic == "rate" and table.is_corpus:
        known = np.isfinite(column.totals) & np.isfinite(baseline.totals)
        both = _renumbered(table.clusters[known])
        if (few := _few(both)) or not column.totals[known].sum() or not baseline.totals[known].sum():
            return few or Contrast(len(both), _units(both), None, None, None, "", reason="there is nothing to count")
        pairs = (column.errors[known], column.totals[known], baseline.errors[known], baseline.totals[known])
        return _rate_difference(*pairs, both, seed)
    known = ~np.isnan(column.values) & ~np.isnan(baseline.values)
    a, b, clusters = column.values[known], baseline.values[known], _renumbered(table.clusters[known])
    if few := _few(clusters):
        return few
    if statistic in QUANTILES:
        return _quantiles(a, b, clusters, QUANTILES[statistic], seed)
    return _means(a, b, clusters, statistic, seed)


def _few(clusters: Places) -> Contrast | None:
    units = _units(clusters)
    if units >= MIN_PAIRS:
        return None
    of = "samples" if _each_its_own(clusters) else "groups of samples"
    return Contrast(len(clusters), units, None, None, None, "", reason=f"{units} paired {of}; {MIN_PAIRS} are needed")


def _means(a: Floats, b: Floats, clusters: Places, statistic: str, seed: int) -> Contrast:
    n, units = len(a), _units(clusters)
    endless = int((np.isinf(a) | np.isinf(b)).sum())
    if endless:
        why = f"{endless} of {n} paired samples failed or were not answered: no mean difference"
        return Contrast(n, units, None, None, None, "", reason=why)
    if statistic == "rate" and _each_its_own(clusters) and np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all():
        first, second = int(np.sum((a == 1) & (b == 0))), int(np.sum((a == 0) & (b == 1)))
        both = int(np.sum((a == 1) & (b == 1)))
        difference, low, high = intervals.newcombe_paired(both, first, second, n - both - first - second)
        return Contrast(n, units, difference, _ends(low, high), mcnemar(first, second), "exact McNemar test")
    difference, low, high = intervals.mean(a - b, clusters)
    means = np.bincount(clusters, weights=a - b) / np.bincount(clusters)
    return Contrast(n, units, difference, _ends(low, high), sign_flip(means, seed=seed), "sign-flip permutation test")


def _quantile(values: Floats, clusters: Places, q: float, seed: int) -> Figure:
    if not intervals.enough(len(values), q):
        needed = math.ceil(intervals.EVENTS_BEYOND / min(q, 1 - q) - 1e-9)
        return Figure(None, None, f"{len(values)} samples; p{q * 100:g} needs {needed}")
    value, low, high = intervals.quantile(values, q)
    if value is None:
        return Figure(None, None, "it lies among what failed or was not answered")
    if _units(clusters) < 2:
        low = high = None  # one group says nothing of others
    elif not _each_its_own(clusters):
        # Order statistics take samples to be independent; those of a cluster are not.
        zero = np.zeros(len(values))
        low, high = quantile_difference(values, zero, clusters, q, np.random.default_rng(seed))
    return Figure(value, _ends(low, high))


def _quantiles(a: Floats, b: Floats, clusters: Places, q: float, seed: int) -> Contrast:
    n, units = len(a), _units(clusters)
    if not intervals.enough(n, q):
        needed = math.ceil(intervals.EVENTS_BEYOND / min(q, 1 - q) - 1e-9)
        return Contrast(n, units, None, None, None, "", reason=f"{n} paired samples; p{q * 100:g} needs {needed}")
    rng = np.random.default_rng(seed)
    p = swapped(a, b, clusters, q, rng)
    first, second = quantile_of(a, q), quantile_of(b, q)
    test = "permutation test that swaps the pipelines"
    if not (math.isfinite(first) and math.isfinite(second)):
        shift = 0.0 if first == second else math.copysign(1.0, first - second)
        why = "one of the two lies among what failed or was not answered"
        return Contrast(n, units, None, None, p, test, shift, why)
    low, high = quantile_difference(a, b, clusters, q, rng)
    return Contrast(n, units, first - second, _ends(low, high), p, test)


# ---- rates of a corpus ---------------------------------------------------------------------------------------


def _rate(errors: Floats, totals: Floats, clusters: Places, seed: int) -> Figure:
    if not totals.sum():
        return Figure(None, None, "there is nothing to count" if len(totals) else "nothing was scored")
    value = float(errors.sum() / totals.sum())
    if _units(clusters) < 2:
        return Figure(value, None)
    e, t = (np.bincount(clusters, weights=each) for each in (errors, totals))
    if np.ptp(e - value * t) <= 1e-12 * max(value, 1):
        # Where no cluster differs, resampling knows no doubt: no more than a share of clusters could.
        low, high = intervals.wilson(0 if value == 0 else len(e), len(e))
        return Figure(value, (0.0, float(high or 0)) if value == 0 else (value * float(low or 0), value))

    def ratio(drawn: Floats) -> tuple[Floats, Floats]:
        return _ratio(drawn, e, t)

    low, high = _studentised(ratio, len(e), seed)
    return Figure(value, (max(0.0, low), high))


def _rate_difference(
    errors_a: Floats, totals_a: Floats, errors_b: Floats, totals_b: Floats, clusters: Places, seed: int
) -> Contrast:
    ea, ta, eb, tb = (np.bincount(clusters, weights=each) for each in (errors_a, totals_a, errors_b, totals_b))
    n, units = len(errors_a), len(ea)
    difference = float(ea.sum() / ta.sum() - eb.sum() / tb.sum())
    # What each cluster adds to the difference; of the same references it is its errors of the one less of the other.
    pooled = (ea.sum() + eb.sum()) / (ta.sum() + tb.sum())
    shares = (ea - pooled * ta) / ta.sum() - (eb - pooled * tb) / tb.sum()
    p = sign_flip(shares, seed=seed)
    test = "sign-flip permutation test"
    if np.abs(shares).max() <= 1e-12:
        return Contrast(n, units, 0.0, _ends(*intervals.newcombe_paired(0, 0, 0, units)[1:]), p, test)

    def apart(drawn: Floats) -> tuple[Floats, Floats]:
        (ra, ua), (rb, ub) = _ratio(drawn, ea, ta), _ratio(drawn, eb, tb)
        return ra - rb, ua - ub

    return Contrast(n, units, difference, _studentised(apart, units, seed), p, test)


def _ratio(drawn: Floats, e: Any, t: Any) -> tuple[Floats, Floats]:
    """Of each row of weights the rate, and what each cluster moves it by (linearised)."""
    total = drawn @ t
    total = np.where(total > 0, total, np.nan)[:, None]
    rate = (drawn @ e)[:, None] / total
    return rate[:, 0], (e - rate * t) / total


def _studentised(of: Callable[[Floats], tuple[Floats, Floats]], units: int, seed: int) -> tuple[float, float]:
    """The interval of a figure of clusters: drawn again and again, each time as far as its own error has it; never
    narrower than t, which few clusters need."""

    def errors(drawn: Floats) -> tuple[Floats, Floats]:
        figures, moves = of(drawn)
        return figures, np.sqrt(units / (units - 1) * (drawn * moves**2).sum(axis=1))

    at, spread = errors(np.ones((1, units)))
    middle, error = float(at[0]), float(spread[0])
    if error <= 1e-12 * abs(middle):
        return middle, middle
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), STUDENTISED).astype(np.float64)
    figures, own = errors(drawn)
    usable = np.isfinite(figures) & np.isfinite(own)
    figures, own = figures[usable], own[usable]
    ratios = (figures - middle) / np.where(own > 1e-9 * error, own, error)
    reach = float(library("scipy.special").stdtrit(units - 1, 0.975)) * error
    low, high = (middle - float(each) * error for each in np.quantile(ratios, [0.975, 0.025]))
    return min(low, middle - reach), max(high, middle + reach)


def _renumbered(clusters: Places) -> Places:
    return np.unique(clusters, return_inverse=True)[1].astype(np.intp)


def _units(clusters: Places) -> int:
    return int(clusters.max()) + 1 if len(clusters) else 0


def _each_its_own(clusters: Places) -> bool:
    return _units(clusters) == len(clusters)


def _ends(low: float | None, high: float | None) -> Ends:
    return None if low is None or high is None else (float(low), float(high))
