"""What an experiment measured, and the same by samples: repeats averaged, what never ended kept as endless."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .checks import LARGEST, Floats, places

OUTCOMES = ("scored", "not_applicable", "unparsed", "failed", "skipped", "planned")
KINDS = ("latency", "accuracy", "cost", "other")
STATISTICS = ("mean", "p50", "p95", "rate")
QUANTILES = {"p50": 0.5, "p95": 0.95}


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """What one metric says of one cell: one sample through one pipeline, once.

    Every planned cell has one for each metric, whatever became of it; `planned` is one that has not run.
    """

    sample: str
    group: str
    """What the sample shares with others: its dialogue, speaker or document. Empty: nothing."""
    pipeline: str
    repeat: int
    metric: str
    outcome: str
    value: float | None = None
    errors: float | None = None
    """Behind a rate of a corpus: words that are wrong, turns that were not answered …"""
    total: float | None = None
    """… of so many. 0 for an empty reference, whose insertions count all the same."""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What is compared, and how. Without `statistics` they follow from the kind and from what was measured."""

    name: str
    version: str = ""
    unit: str = ""
    better: str = "lower"
    """`higher` or `lower`. What has no direction can't be compared: it is listed as left out."""
    kind: str = "other"
    statistics: tuple[str, ...] = ()


@dataclass(slots=True)
class Column:
    """One pipeline under one metric, a place a sample. NaN: nothing was measured; +inf: it never ended."""

    values: Floats
    errors: Floats
    totals: Floats
    planned: int = 0
    run: int = 0
    scored: int = 0
    """How many samples were planned, have run at least once, and have a value."""
    unanswered: int = 0
    """Samples of a latency of which a run failed or was never answered."""
    runs: list[tuple[int, int, float]] = field(default_factory=list)
    """Sample's place, repeat, value: of what has one, before repeats are averaged."""


@dataclass(slots=True)
class Table:
    """One metric over all samples and pipelines."""

    samples: list[str]
    clusters: np.ndarray[tuple[int], np.dtype[np.intp]]
    """Of each sample the number of its cluster; one that shares nothing is a cluster of its own."""
    columns: dict[str, Column]

    @property
    def is_corpus(self) -> bool:
        """Whether it has counts behind its rates."""
        return any(np.isfinite(column.totals).any() for column in self.columns.values())

    @property
    def is_binary(self) -> bool:
        """Whether each sample is right or wrong, and nothing between, in every run."""
        said = {value for column in self.columns.values() for *_, value in column.runs}
        return bool(said) and said <= {0.0, 1.0}


def table(measured: Sequence[MeasuredCell], info: MetricInfo, pipelines: Sequence[str]) -> Table:
    """One metric's measurements by sample and pipeline.

    Raises:
        ValueError: an outcome that there is not, a value that is no finite number, one cell measured twice, or a sample
            in two groups.
    """
    rows = [each for each in measured if each.metric == info.name]
    groups: dict[str, str] = {}
    for each in rows:
        if groups.setdefault(each.sample, each.group) != each.group:
            raise ValueError(f"the sample {each.sample!r} is in two groups, {groups[each.sample]!r} and {each.group!r}")
    at = {name: place for place, name in enumerate(groups)}
    clusters = places([("of", group) if group else ("alone", name) for name, group in groups.items()], len(groups))
    cells: dict[str, dict[int, dict[int, MeasuredCell]]] = {name: {} for name in pipelines}
    for each in rows:
        if each.pipeline not in cells:
            continue
        _check(each)
        of_sample = cells[each.pipeline].setdefault(at[each.sample], {})
        if each.repeat in of_sample:
            raise ValueError(f"{_where(each)} was measured twice; give each cell once")
        of_sample[each.repeat] = each
    columns = {name: _column(of_pipeline, len(at), info) for name, of_pipeline in cells.items()}
    return Table(list(at), clusters, columns)


def _column(cells: Mapping[int, Mapping[int, MeasuredCell]], n: int, info: MetricInfo) -> Column:
    made = Column(np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan))
    for place, repeats in cells.items():
        made.planned += 1
        made.run += any(each.outcome != "planned" for each in repeats.values())
        values = []
        for repeat, each in sorted(repeats.items()):
            value = _value(each, info)
            if value is not None:
                values.append(value)
                made.runs.append((place, repeat, value))
        counted = [each for each in repeats.values() if each.errors is not None and each.total is not None]
        if counted:
            made.errors[place] = sum(each.errors or 0 for each in counted) / len(counted)
            made.totals[place] = sum(each.total or 0 for each in counted) / len(counted)
        if values:
            made.values[place] = sum(values) / len(values)
            made.unanswered += math.inf in values
        made.scored += bool(values or counted) and math.inf not in values
    return made


def _value(each: MeasuredCell, info: MetricInfo) -> float | None:
    """Of a latency, a run that failed or was never answered took endlessly long: to leave it out would favour whoever
    answers only what is easy."""
    if each.outcome == "failed" and info.kind == "latency":
        return math.inf
    return each.value if each.outcome == "scored" else None


def _check(each: MeasuredCell) -> None:
    if each.outcome not in OUTCOMES:
        raise ValueError(f"{_where(each)} has the outcome {each.outcome!r}; give one of {', '.join(OUTCOMES)}")
    for name in ("value", "errors", "total"):
        number = getattr(each, name)
        if number is not None and not abs(number) <= LARGEST:
            raise ValueError(f"{name} of {_where(each)} is {number}; give a finite number, or None for what is missing")
    if each.outcome == "scored" and each.value is None:
        raise ValueError(f"{_where(each)} is scored and has no value; give it, or say what became of it")
    if (each.errors is not None and each.errors < 0) or (each.total is not None and each.total < 0):
        raise ValueError(f"{_where(each)} has a negative count")


def _where(each: MeasuredCell) -> str:
    return f"{each.metric} of {each.sample!r} through {each.pipeline!r}, repeat {each.repeat},"
