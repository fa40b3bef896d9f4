"""Do two pipelines differ on the same samples: tests of paired differences, and what many of them leave standing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .checks import Floats, count, drawing, library, listed, numbers

EXACT = 20
"""Up to so many differences other than 0 all 2^n patterns of signs are looked at: a million."""
_BLOCK = 1 << 21
"""Values that are drawn at once: 16 MB."""


def sign_flip(differences: Iterable[float], resamples: int = 9999, seed: int = 0) -> float | None:
    """The two-sided p of the mean difference, by flipping signs: as likely as not where nothing differs.

    Exact up to 20 differences other than 0; with more, (b + 1) ÷ (m + 1) for b of m random patterns that are at least
    as far from 0 as what was seen, so never 0. Sums that differ by rounding only are the same.

    Args:
        differences: One per sample, repeats averaged first; of samples that belong together, one per cluster.
        resamples: m, where not all patterns are looked at.
        seed: Of the patterns that are drawn.

    Returns:
        p, above 0 and at most 1; 1 where nothing differs, None without a difference.

    Raises:
        ValueError: a difference is no finite number, `resamples` is below 1, or `seed` below 0.

    Source: Fisher 1935, The design of experiments; Phipson & Smyth 2010 for the + 1.
    """
    row = numbers(differences, "differences")
    m, rng = drawing(resamples, seed)
    if len(row) == 0:
        return None
    row = row[row != 0]  # flipped or not, they change no sum
    seen = abs(row.sum())
    least = seen - 1e-9 * np.abs(row).sum()
    if len(row) <= EXACT:
        # The first sign is held: each pattern and its opposite are equally far from 0.
        sums = row[:1].sum(keepdims=True)
        for each in row[1:]:
            sums = np.concatenate((sums + each, sums - each))
        return float(np.mean(np.abs(sums) >= least))
    # Of `flipped` the sum changes by twice its value.
    as_far = 0
    for rows in _blocks(m, len(row)):
        flipped = np.unpackbits(rng.integers(0, 256, (rows, -(-len(row) // 8)), np.uint8), axis=1, count=len(row))
        as_far += int(np.count_nonzero(np.abs(row.sum() - 2 * (flipped @ row)) >= least))
    return (as_far + 1) / (m + 1)


def _blocks(m: int, n: int) -> Iterable[int]:
    """m rows of n values, in parts that fit into little memory."""
    most = max(1, _BLOCK // n)
    for start in range(0, m, most):
        yield min(most, m - start)


def wilcoxon(differences: Iterable[float]) -> tuple[float, float, float | None]:
    """Wilcoxon's signed ranks, two-sided; differences of 0 are left out, equal ones share their ranks.

    Exact up to 50 differences, with equal ones up to 20; else by the normal distribution.

    Args:
        differences: One per sample, repeats averaged first.

    Returns:
        The ranks' sum of the negative differences, that of the positive ones, and p: 1 where nothing differs, None
        without a difference.

    Raises:
        ValueError: a difference is no finite number.

    Source: Wilcoxon 1945; scipy.
    """
    row = numbers(differences, "differences")
    if len(row) == 0:
        return 0.0, 0.0, None
    # What differs by rounding only is the same: 0.3 − 0.1 and 0.2.
    largest = float(np.abs(row).max()) or 1.0
    row = np.round(row / largest, 12)
    row = row[row != 0]
    if len(row) == 0:
        return 0.0, 0.0, 1.0
    stats = library("scipy.stats")
    ranks = stats.rankdata(np.abs(row))
    minus, plus = float(ranks[row < 0].sum()), float(ranks[row > 0].sum())
    equal = len(np.unique(ranks)) < len(ranks)
    if equal and len(row) <= EXACT:
        return minus, plus, sign_flip(np.copysign(ranks, row))
    method = "exact" if len(row) <= 50 and not equal else "asymptotic"
    return minus, plus, min(1.0, float(stats.wilcoxon(row, method=method).pvalue))


def mcnemar(b: int, c: int) -> float:
    """McNemar's exact two-sided p, of what only one of two pipelines got right.

    Args:
        b: Samples that only the first got right.
        c: Samples that only the second got right.

    Returns:
        p; 1 where the two differ on nothing.

    Raises:
        ValueError: a count is negative or no whole number.

    Source: McNemar 1947; statsmodels.
    """
    b, c = count(b, "b"), count(c, "c")
    if b == c:
        return 1.0
    tables = library("statsmodels.stats.contingency_tables")
    return float(tables.mcnemar([[0, b], [c, 0]], exact=True).pvalue)


def holm(ps: Iterable[float | None]) -> list[float | None]:
    """Holm's adjustment of the ps of one metric, so that all of them together err in 5 %.

    Args:
        ps: 0 to 1; None is one that could not be had, and counts for nothing.

    Returns:
        The adjusted ps, in the same order.

    Raises:
        ValueError: a p is none.

    Source: Holm 1979. statsmodels' own has Python collect its garbage at each call, which takes 80 ms and more.
    """
    given = listed(ps, "ps")
    known: Floats = numbers([each for each in given if each is not None], "ps")
    for p in known:
        if not 0 <= p <= 1:
            raise ValueError(f"{p:g} is no p; give values from 0 to 1")
    if len(known) == 0:
        return [None] * len(given)
    order = np.argsort(known)
    least = np.minimum(1.0, np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1)))
    adjusted = iter(least[np.argsort(order)])
    return [None if each is None else float(next(adjusted)) for each in given]
