"""95 % intervals: of rates and their differences, of means, of quantiles, and of whatever else is computed of samples.

What each covers was measured on tables whose truth is known; `docs/reference/evaluation.md` has the figures.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import checks
from .checks import Floats, library

Interval = tuple[float | None, float | None]
Estimate = tuple[float | None, float | None, float | None]

EVENTS_BEYOND = 10
"""Fewer values than that beyond a percentile say too little to show it."""
_SKEW_FROM = 20
"""Of fewer values nobody can tell whether they are skewed."""
_MANY = 40
"""From so many units on the bootstrap stands alone."""
_BLOCK = 1 << 21
"""Numbers of resamples that are held at once: 16 MB."""


def wilson(k: int, n: int) -> Interval:
    """Wilson's interval of a rate.

    Args:
        k: How often it happened.
        n: How often it could have.

    Returns:
        (low, high), shares from 0 to 1; (None, None) where n is 0.

    Raises:
        ValueError: a count is negative or no whole number, or k is more than n.

    Source: Wilson 1927; statsmodels.
    """
    k, n = _of(k, n, "k", "n")
    return _wilson(k, n) if n else (None, None)


def _wilson(k: int, n: int) -> tuple[float, float]:
    low, high = library("statsmodels.stats.proportion").proportion_confint(k, n, method="wilson")
    return 0.0 if k == 0 else float(low), 1.0 if k == n else float(high)


def newcombe(k1: int, n1: int, k2: int, n2: int) -> Estimate:
    """The difference between two rates of different samples: k1 ÷ n1 − k2 ÷ n2.

    Returns:
        (difference, low, high), shares from −1 to 1; None thrice where an n is 0.

    Raises:
        ValueError: a count is negative or no whole number, or a k is more than its n.

    Source: Newcombe 1998, Interval estimation for the difference between independent proportions, method 10;
    statsmodels.
    """
    (k1, n1), (k2, n2) = _of(k1, n1, "k1", "n1"), _of(k2, n2, "k2", "n2")
    if n1 == 0 or n2 == 0:
        return None, None, None
    low, high = library("statsmodels.stats.proportion").confint_proportions_2indep(
        k1, n1, k2, n2, method="newcomb", compare="diff"
    )
    return k1 / n1 - k2 / n2, max(-1.0, float(low)), min(1.0, float(high))


def newcombe_paired(both: int, first: int, second: int, neither: int) -> Estimate:
    """The difference between two rates on the same samples: the first's minus the second's.

    Args:
        both: Samples where it happened under both.
        first: Under the first only.
        second: Under the second only.
        neither: Under neither.

    Returns:
        (difference, low, high), shares from −1 to 1; None thrice where there is no sample.

    Raises:
        ValueError: a count is negative or no whole number.

    Source: Newcombe 1998, Improved confidence intervals for the difference between binomial proportions based on
    paired data, method 10.
    """
    a, b, c, d = (
        checks.count(each, what)
        for each, what in ((both, "both"), (first, "first"), (second, "second"), (neither, "neither"))
    )
    n = a + b + c + d
    if n == 0:
        return None, None, None
    rate1, rate2 = (a + b) / n, (a + c) / n
    (low1, high1), (low2, high2) = _wilson(a + b, n), _wilson(a + c, n)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    product = a * d - b * c
    # A positive correlation is corrected for continuity, by n/2, though not below 0.
    phi = (max(product - n / 2, 0) if product > 0 else product) / math.sqrt(margins) if margins else 0.0
    below = (rate1 - low1) ** 2 - 2 * phi * (rate1 - low1) * (high2 - rate2) + (high2 - rate2) ** 2
    above = (high1 - rate1) ** 2 - 2 * phi * (high1 - rate1) * (rate2 - low2) + (rate2 - low2) ** 2
    difference = (b - c) / n
    return difference, difference - math.sqrt(max(below, 0)), difference + math.sqrt(max(above, 0))


def _of(k: Any, n: Any, part: str, whole: str) -> tuple[int, int]:
    k, n = checks.count(k, part), checks.count(n, whole)
    if k > n:
        raise ValueError(f"{part} is {k} of {whole} = {n}; a rate is 1 at most")
    return k, n


def mean(values: Iterable[float], clusters: Iterable[Hashable] | None = None) -> Estimate:
    """The mean, with the interval by Student's t over the values, or over the means of their clusters (k − 1 degrees).

    Latencies, costs and the like lie on one side of 0 and reach far: where 20 or more that have one sign are clearly
    skewed away from 0, t ends too early there, and that end is the one of Hall's transformation.

    Args:
        values: One per sample, repeats averaged first; for two pipelines their differences.
        clusters: Of each value the name of its dialogue, speaker or document. Each cluster counts once, however many
            samples it has: the mean is that of the clusters' means.

    Returns:
        (mean, low, high) in the unit of the values; low and high are None for one value or cluster, all for none.

    Raises:
        ValueError: a value is no finite number, or a cluster is missing.

    Source: Student 1908; Hall 1992, On the removal of skewness by transformation.
    """
    row = checks.numbers(values)
    if clusters is not None:
        at = checks.places(clusters, len(row))
        row = np.bincount(at, weights=row) / np.bincount(at)
    n = len(row)
    if n < 2:
        return (float(row[0]) if n else None), None, None
    middle = float(row.mean())
    t, error = _t(n), float(row.std(ddof=1)) / math.sqrt(n)
    low, high = middle - t * error, middle + t * error
    side = _long_side(row)
    if side and error > 0:
        skew = side * _skewness(row) / math.sqrt(n)
        reach = 3 / skew * (1 - float(np.cbrt(1 - skew * (t + skew / 6))))
        low, high = (low, middle + reach * error) if side > 0 else (middle - reach * error, high)
    return middle, low, high


def _t(n: int) -> float:
    return float(library("scipy.special").stdtrit(n - 1, 0.975))


def _skewness(row: Floats) -> float:
    """Of the sample, corrected for its size; 0 where nothing varies."""
    n, away = len(row), row - row.mean()
    spread = float((away**2).mean())
    if spread <= 1e-24 * float((row**2).mean()):
        return 0.0
    third = float((away**3).mean())
    return third / math.sqrt(spread) ** 3 * math.sqrt(n * (n - 1)) / (n - 2)


def _long_side(row: Floats) -> int:
    """1 or −1 where the values lie on one side of 0 and are clearly skewed away from it, by two standard errors of
    their skewness; else 0. Differences between pipelines have both signs: a far one is no skew, and t serves them."""
    n = len(row)
    side = 1 if row.min() >= 0 else -1 if row.max() <= 0 else 0
    if n < _SKEW_FROM or not side or len(np.unique(row)) < 3:
        return 0
    error = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    return side if side * _skewness(row) > 2 * error else 0


def quantile(values: Iterable[float], q: float) -> Estimate:
    """A quantile, linear between neighbours, with the interval by order statistics: right for any distribution.

    Args:
        values: One per turn. One that was never answered is `math.inf`: censored, not dropped. What was early is
            negative, and stays it.
        q: 0.5 for the median, 0.95 for p95.

    Returns:
        (quantile, low, high) in the unit of the values. What lies among the unanswered is None; so are low and high
        where there are too few values for 95 % (p95: 72 are needed) or one of them lies among the unanswered.
        Whether a figure should be shown is asked of `enough`.

    Raises:
        ValueError: q is not between 0 and 1, or a value is none.

    Source: Conover 1999, Practical nonparametric statistics, 3.2; Hyndman & Fan 1996, type 7.
    """
    q = checks.share(q, "q")
    row = np.sort(checks.numbers(values, endless=True))
    n = len(row)
    if n == 0:
        return None, None, None
    place = q * (n - 1)
    under, over = row[math.floor(place)], row[math.ceil(place)]
    value = under if under == over else under + (over - under) * (place - math.floor(place))
    binomial = library("scipy.stats").binom
    # Each bound is on the wrong side with 2.5 % at most. Ranks begin at 1.
    first, last = int(binomial.ppf(0.025, n, q)), int(binomial.ppf(0.975, n, q)) + 1
    if first < 1 or last > n or not math.isfinite(row[last - 1]):
        return _finite(value), None, None
    return _finite(value), _finite(row[first - 1]), _finite(row[last - 1])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def enough(n: int, q: float) -> bool:
    """Whether a quantile of n values is worth showing: 10 of them lie beyond it, 200 values for p95.

    Raises:
        ValueError: n is no count, or q not between 0 and 1.
    """
    q = checks.share(q, "q")
    return checks.count(n, "n") * min(q, 1 - q) >= EVENTS_BEYOND - 1e-9


def bootstrap(
    values: Iterable[float],
    statistic: Callable[..., Any],
    clusters: Iterable[Hashable] | None = None,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """The interval of any statistic, by resampling the samples, or whole clusters of them.

    A mean's is studentised; any other's is BCa, widened as t is wider than the normal distribution. What BCa promises
    it keeps with many units, 40 or more; a statistic of squares needs hundreds.

    Args:
        values: One per sample.
        statistic: A function of an array of values that gives one number, np.mean or np.median, say. One that takes
            `axis` is faster.
        clusters: Of each value the name of its cluster; the statistic is that of all values in the drawn clusters.
        resamples: How often to draw.
        seed: Of what is drawn.

    Returns:
        (low, high); (None, None) for fewer than two units, or where the statistic gave no finite number.

    Raises:
        ValueError: a value is no finite number, a cluster is missing, `resamples` is below 1, or `seed` below 0.

    Source: Hall 1988 for the studentised one; Efron 1987 for BCa; Hesterberg 2015 for the widening; scipy.
    """
    row = checks.numbers(values)
    m, rng = checks.drawing(resamples, seed)
    at = np.arange(len(row)) if clusters is None else checks.places(clusters, len(row))
    units = int(at.max()) + 1 if len(row) else 0
    if units < 2:
        return None, None
    if not callable(statistic):
        raise ValueError(f"the statistic is {type(statistic).__name__}; give a function of an array, such as np.mean")
    if _is_mean(statistic, row):
        return _studentised(row, at, units, m, rng)
    return _bca(row, statistic, None if clusters is None else at, units, m, rng)


def _is_mean(statistic: Callable[..., Any], row: Floats) -> bool:
    """Whatever it is called: it gives the mean of some resamples."""
    if statistic is np.mean:
        return True
    rng = np.random.default_rng(0)
    draws = [rng.choice(row, len(row)) for _ in range(5)]
    near = 1e-12 * float(np.abs(row).max())
    return all(abs(_one(statistic(draw)) - draw.mean()) <= near for draw in draws)


def _one(value: Any) -> float:
    """What a statistic gave: NaN where that is no number."""
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError):
        raise ValueError(f"the statistic gave {type(value).__name__}; it has to give one number") from None


def _studentised(row: Floats, at: npt.NDArray[np.intp], units: int, m: int, rng: np.random.Generator) -> Interval:
    sizes, sums = np.bincount(at).astype(np.float64), np.bincount(at, weights=row)
    middle = row.mean()
    sums = sums - middle * sizes  # so that squares lose nothing where the values are far from 0

    def errors(weights: Floats) -> tuple[Floats, Floats]:
        """How far each resample's mean is from that of the sample, and its standard error."""
        n, total = weights @ sizes, weights @ sums
        away = total / n
        squares = weights @ sums**2 - 2 * away * (weights @ (sums * sizes)) + away**2 * (weights @ sizes**2)
        return away, np.sqrt(np.maximum(squares, 0) * units / (units - 1)) / n

    error = float(errors(np.ones((1, units)))[1][0])
    if error <= 1e-12 * abs(middle):
        return float(middle), float(middle)
    least = max(1, _BLOCK // units)
    ratios = np.empty(m)
    for start in range(0, m, least):
        drawn = rng.multinomial(units, np.full(units, 1 / units), min(least, m - start)).astype(np.float64)
        away, spread = errors(drawn)
        # A resample without spread says nothing of its own: it is as far as its mean is.
        ratios[start : start + len(away)] = away / np.where(spread > 1e-12 * error, spread, error)
    low, high = (float(middle - each * error) for each in np.quantile(ratios, [0.975, 0.025]))
    # Never nearer than t has it where few units make its ratios wild, and on the short side of what is skewed: `mean`.
    side, reach = _long_side(sums / sizes + middle), _t(units) * error
    if units < _MANY or side > 0:
        low = min(low, float(middle) - reach)
    if units < _MANY or side < 0:
        high = max(high, float(middle) + reach)
    return low, high


def _bca(
    row: Floats,
    statistic: Callable[..., Any],
    at: npt.NDArray[np.intp] | None,
    units: int,
    m: int,
    rng: np.random.Generator,
) -> Interval:
    stats = library("scipy.stats")
    settings: dict[str, Any] = {"batch": max(1, _BLOCK // units)}
    of: Callable[..., Any] = statistic
    data: npt.NDArray[Any] = row
    if at is not None:
        members = [row[at == each] for each in range(units)]
        data = np.arange(units)

        def of(drawn: npt.NDArray[np.intp]) -> float:
            return _one(statistic(np.concatenate([members[each] for each in drawn])))

        settings = {"vectorized": False}
    level = 1 - 2 * float(stats.norm.cdf(-math.sqrt(units / (units - 1)) * _t(units)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of what can't be computed, which is None here
        found = stats.bootstrap((data,), of, n_resamples=m, confidence_level=level, method="BCa", rng=rng, **settings)
    drawn = found.bootstrap_distribution
    if np.isfinite(drawn).all() and np.ptp(drawn) <= 1e-12 * abs(drawn.flat[0]):
        return float(drawn.flat[0]), float(drawn.flat[0])
    low, high = found.confidence_interval
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else (None, None)
