"""Standard errors of means: of the same items under two pipelines, of others, and of samples that belong together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

import numpy as np

from .checks import numbers, places, same_length


def naive(values: Iterable[float]) -> float | None:
    """The standard error of the mean of values that have nothing to do with one another: sd (n − 1) ÷ √n.

    Returns:
        In the unit of the values; None for fewer than two.

    Raises:
        ValueError: a value is no finite number.
    """
    row = numbers(values)
    return float(row.std(ddof=1)) / math.sqrt(len(row)) if len(row) > 1 else None


def clustered(values: Iterable[float], clusters: Iterable[Hashable]) -> float | None:
    """The standard error of the mean over values of which some belong together: a dialogue, a speaker, a document.

    It is right with many clusters; an interval for few is that of `intervals.mean(values, clusters)`.

    Args:
        values: One per sample.
        clusters: Of each the name of its cluster.

    Returns:
        In the unit of the values; None for fewer than two clusters.

    Raises:
        ValueError: a value is no finite number, or a cluster is missing.

    Source: Miller 2024, Adding error bars to evals, arXiv:2411.00640, section 2.2.
    """
    row = numbers(values)
    at = places(clusters, len(row))
    if len(row) == 0 or at.max() == 0:
        return None
    return float(np.linalg.norm(np.bincount(at, weights=row - row.mean()))) / len(row)


def paired(a: Iterable[float], b: Iterable[float]) -> float | None:
    """The standard error of the mean difference between two pipelines on the same samples, given in the same order.

    Returns:
        In the unit of the values; None for fewer than two samples.

    Raises:
        ValueError: there are more of the one than of the other, or a value is no finite number.
    """
    first, second = numbers(a, "a"), numbers(b, "b")
    same_length(first, second, "a and b")
    return naive(first - second)


def unpaired(a: Iterable[float], b: Iterable[float]) -> float | None:
    """The standard error of the difference between the means of different samples; of the same ones it is too large.

    Returns:
        In the unit of the values; None for fewer than two on a side.

    Raises:
        ValueError: a value is no finite number.
    """
    first, second = naive(numbers(a, "a")), naive(numbers(b, "b"))
    return None if first is None or second is None else math.hypot(first, second)
