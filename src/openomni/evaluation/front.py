"""Latency, accuracy and cost together: which pipelines no other beats in all three, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import intervals
from .checks import Floats
from .contrasts import figure
from .measured import MetricInfo, Table
from .resampled import Places, blocks, how_often, weighted_quantile

AXES = ("latency", "accuracy", "cost")


def front(
    tables: Mapping[str, Table],
    infos: Mapping[str, MetricInfo],
    axes: Mapping[str, str | None],
    pipelines: Sequence[str],
    seed: int,
) -> tuple[list[dict[str, Any]], dict[str, str | None]]:
    """Each pipeline's place on the three axes with its intervals, and its probability of being on the Pareto front: how
    often no other is as good on every axis and better on one, where clusters of samples are drawn again, the same for
    all pipelines and axes.

    Latency is the median, of fewer than 20 samples the mean. A pipeline that lacks a figure which others have is on no
    front that could be told: its probability is None.

    Returns:
        The points, and the statistic of each axis.
    """
    used = {axis: name for axis in AXES if (name := axes.get(axis)) is not None and name in tables}
    by: dict[str, str | None] = dict.fromkeys(AXES)
    for axis, name in used.items():
        by[axis] = _statistic(tables[name], infos[name])
    points: list[dict[str, Any]] = []
    for pipeline in pipelines:
        point: dict[str, Any] = {"pipeline": pipeline}
        for axis in AXES:
            found = None
            if axis in used:
                made = tables[used[axis]]
                found = figure(made, made.columns[pipeline], by[axis] or "mean", seed)
            point[axis] = found.value if found else None
            point[f"{axis}_interval"] = list(found.interval) if found and found.interval else None
        points.append(point | {"probability": None})
    told = [axis for axis in used if any(point[axis] is not None for point in points)]
    whole = [at for at, point in enumerate(points) if told and all(point[axis] is not None for axis in told)]
    if whole:
        names = [pipelines[at] for at in whole]
        chances = _chances({axis: (tables[used[axis]], infos[used[axis]], by[axis]) for axis in told}, names, seed)
        for at, chance in zip(whole, chances, strict=True):
            points[at]["probability"] = chance
    return points, by


def _statistic(made: Table, info: MetricInfo) -> str:
    if made.is_corpus:
        return "rate"
    if info.kind != "latency":
        return "rate" if made.is_binary and info.kind == "accuracy" else "mean"
    least = min((int((~np.isnan(column.values)).sum()) for column in made.columns.values()), default=0)
    return "p50" if intervals.enough(least, 0.5) else "mean"


def _chances(of: Mapping[str, tuple[Table, MetricInfo, str | None]], names: Sequence[str], seed: int) -> list[float]:
    clusters = _clusters([made for made, *_ in of.values()])
    units = len(set(clusters.values()))
    rng = np.random.default_rng(seed)
    longest = max(len(made.samples) for made, *_ in of.values())
    counts, m = np.zeros(len(names)), 0
    for rows in blocks(how_often(longest), max(longest, units)):
        drawn = rng.multinomial(units, np.full(units, 1 / units), rows).astype(np.float64)
        worse = np.stack(
            [
                np.stack([_drawn(made, name, by or "mean", drawn[:, _at(made, clusters)]) for name in names])
                * (-1 if info.better == "higher" else 1)
                for made, info, by in of.values()
            ]
        )  # axes × pipelines × rows: lower is better
        usable = ~np.isnan(worse).any(axis=(0, 1))
        kept = worse[:, :, usable]
        counts += [_undominated(kept, at).sum() for at in range(len(names))]
        m += int(usable.sum())
    return [float(each) / m for each in counts] if m else [0.0] * len(names)


def _undominated(worse: Floats, at: int) -> Any:
    mine = worse[:, at : at + 1, :]
    dominates = (worse <= mine).all(axis=0) & (worse < mine).any(axis=0)
    return ~dominates.any(axis=0)


def _clusters(tables: Sequence[Table]) -> dict[str, int]:
    """Sample → the number of its cluster, over all metrics: some are scored of fewer samples than others."""
    names: dict[str, str] = {}
    for made in tables:
        first: dict[int, str] = {}
        for sample, cluster in zip(made.samples, made.clusters.tolist(), strict=True):
            names.setdefault(sample, names.get(first.setdefault(cluster, sample), first[cluster]))
    numbers = {name: at for at, name in enumerate(dict.fromkeys(names.values()))}
    return {sample: numbers[name] for sample, name in names.items()}


def _at(made: Table, clusters: Mapping[str, int]) -> Places:
    return np.array([clusters[sample] for sample in made.samples], dtype=np.intp)


def _drawn(made: Table, pipeline: str, by: str, drawn: Floats) -> Floats:
    """The figure of each row of weights; NaN where none of its samples was drawn."""
    column = made.columns[pipeline]
    if by == "rate" and made.is_corpus:
        known = np.isfinite(column.totals)
        errors, totals = drawn[:, known] @ column.errors[known], drawn[:, known] @ column.totals[known]
        return _over(errors, totals)
    known = ~np.isnan(column.values)
    values, drawn = column.values[known], drawn[:, known]
    if by == "p50":
        return weighted_quantile(values, drawn, 0.5)
    # As the point itself: the mean of the means of clusters, whatever number of samples each has.
    _, of, sizes = np.unique(made.clusters[known], return_inverse=True, return_counts=True)
    drawn = drawn / sizes[of]
    return _over(drawn @ values, drawn.sum(axis=1))


def _over(part: Floats, whole: Floats) -> Floats:
    found: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return found
