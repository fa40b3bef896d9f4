"""The smallest difference that an experiment can detect, before it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from . import checks
from .measured import MeasuredCell, MetricInfo, Table, table
from .variance import components

POWER = 0.8


@dataclass(frozen=True, slots=True)
class Spread:
    """How differences between two pipelines scatter, in the metric's unit."""

    between: float
    """Standard deviation of the true difference between samples: pipelines differ more on some than on others."""
    run: float = 0.0
    """Standard deviation of single runs of one sample through one pipeline."""
    within: float = 0.0
    """Correlation, from 0 to 1, of the differences of samples that share a cluster."""

    def of(self, repeats: int) -> float:
        """The standard deviation of a sample's paired difference, its repeats averaged."""
        return math.sqrt(self.between**2 + 2 * self.run**2 / repeats)


def detectable(
    samples: int,
    repeats: int = 1,
    *,
    clusters: int | None = None,
    comparisons: int = 1,
    spread: Spread | None = None,
    power: float = POWER,
) -> dict[str, Any]:
    """The smallest difference of means that is called different with 80 % probability, tested at 5 % with Holm.

    Args:
        samples: How many samples each pipeline gets.
        repeats: Of each.
        clusters: How many dialogues, speakers or documents the samples are of; without it each stands alone.
        comparisons: How many pipelines are compared with the baseline; the first of Holm's steps counts, the strictest.
        spread: As measured in an earlier experiment, or assumed. Without it the answer is in standard deviations only.
        power: The probability.

    Returns:
        `in_sd`, in standard deviations of a sample's paired difference (repeats averaged), and `difference` in the
        metric's unit, None without a spread; both None under two samples or clusters.

    Raises:
        ValueError: a count is none, more clusters than samples, or the power not between 0 and 1.
    """
    samples, repeats = checks.count(samples, "samples"), checks.count(repeats, "repeats", 1)
    comparisons, power = checks.count(comparisons, "comparisons", 1), checks.share(power, "power")
    units = samples if clusters is None else checks.count(clusters, "clusters")
    if units > samples:
        raise ValueError(f"clusters are {units} and samples {samples}; a cluster has one sample at least")
    if units < 2:
        return {"in_sd": None, "difference": None}
    # Samples of a cluster say less than as many that stand alone; without a spread, how much less isn't known, and the
    # safe side is that each cluster says as much as one sample.
    within = 1.0 if spread is None else spread.within
    deflated = math.sqrt((within + (1 - within) * units / samples) / units)
    in_sd = _noncentrality(units - 1, 0.05 / comparisons, power) * deflated
    return {"in_sd": in_sd, "difference": None if spread is None else in_sd * spread.of(repeats)}


def _noncentrality(degrees: int, level: float, power: float) -> float:
    """How many standard errors the truth has to lie from 0 for a two-sided t test to find it."""
    stats, optimise = checks.library("scipy.stats"), checks.library("scipy.optimize")
    beyond = float(stats.t.isf(level / 2, degrees))

    def short(truth: float) -> float:
        return float(stats.nct.sf(beyond, degrees, truth)) - power

    return float(optimise.brentq(short, 0.0, 2 * beyond + 10))


def spread_of(measured: Sequence[MeasuredCell], info: MetricInfo) -> Spread | None:
    """The spread that an earlier experiment had, over all pairs of its pipelines; None where it had fewer than two
    pipelines, or too few samples through them.

    Raises:
        ValueError: a measurement is none.
    """
    made = table(measured, info, tuple(dict.fromkeys(each.pipeline for each in measured)))
    found = {name: components(column.runs) for name, column in made.columns.items()}
    pairs = [(a, b) for a, b in combinations(made.columns, 2) if found[a] and found[b]]
    totals, runs, within = [], [], []
    for a, b in pairs:
        both = np.isfinite(made.columns[a].values) & np.isfinite(made.columns[b].values)
        if both.sum() < 2:
            continue
        differences = made.columns[a].values[both] - made.columns[b].values[both]
        run = [(part["rest"] or 0.0, part["repeats"]) for part in (found[a], found[b]) if part]
        totals.append(max(0.0, float(differences.var(ddof=1)) - sum(each / repeats for each, repeats in run)))
        runs.append(sum(each for each, _ in run) / 2)
        within.append(_within(made, differences, both))
    if not totals:
        return None
    return Spread(math.sqrt(np.mean(totals)), math.sqrt(np.mean(runs)), float(np.mean(within)))


def _within(made: Table, differences: checks.Floats, both: Any) -> float:
    """The intra-cluster correlation by a one-way analysis of variance, 0 where no cluster has two."""
    at = np.unique(made.clusters[both], return_inverse=True)[1]
    sizes = np.bincount(at)
    k, n = len(sizes), len(at)
    if k in (1, n):
        return 0.0
    means = np.bincount(at, weights=differences) / sizes
    inside = float(((differences - means[at]) ** 2).sum()) / (n - k)
    across = float((sizes * (means - differences.mean()) ** 2).sum()) / (k - 1)
    size = (n - float((sizes**2).sum()) / n) / (k - 1)
    whole = across + (size - 1) * inside
    return min(1.0, max(0.0, (across - inside) / whole)) if whole > 0 else 0.0
