"""Which pipeline is better: per metric each one's figure, its paired difference from the baseline's, and a word.

The unit is the sample: its repeats are averaged first, and samples of one group form a cluster. What can't be told is
None with a reason, never NaN. `docs/explanation/comparison.md` says what was decided and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import checks
from .contrasts import MIN_PAIRS, Contrast, contrast, figure
from .front import front
from .measured import KINDS, QUANTILES, STATISTICS, Column, MeasuredCell, MetricInfo, Table, table
from .paired import holm
from .sentences import sentence
from .variance import components, settle

__all__ = ["CONFIDENCE", "LEVEL", "MIN_PAIRS", "MeasuredCell", "MetricInfo", "axes", "compare", "statistics_of"]

CONFIDENCE = 0.95
LEVEL = 0.05
ACCURACIES = ("wer", "cer", "reply_wer")
LATENCIES = ("voice_to_voice_s", "turn_s")
UNTRIED = {"not_applicable", "skipped", "planned"}
"""Outcomes by which nothing was tried; what failed was."""
SAME = 1e-9
"""Of the larger of two values: what differs by less is the same."""


def compare(
    measured: Sequence[MeasuredCell],
    *,
    baseline: str,
    metrics: Sequence[MetricInfo],
    margins: Mapping[str, float] | None = None,
    seed: int = 0,
    pipelines: Mapping[str, str] | None = None,
    texts: Mapping[tuple[str, str], Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The comparison of an experiment's pipelines, as `experiment compare --json` has it.

    Args:
        measured: One for each cell and metric, whatever became of it.
        baseline: The pipeline that the others are compared with.
        metrics: What is compared, in the order in which it is shown.
        margins: By metric, the difference that was said beforehand not to matter, in its unit.
        seed: Of all that is drawn.
        pipelines: Label → hash, in the order in which they are shown; without it, as they come in `measured`.
        texts: By pipeline and sample what its repeats answered, for the share of samples that answer differently.

    Raises:
        ValueError: the baseline, a metric or a margin is of no pipeline or metric, or a measurement is none.
    """
    shown = dict(pipelines) if pipelines is not None else {each.pipeline: "" for each in measured}
    margins = dict(margins or {})
    if baseline not in shown:
        raise ValueError(f"the baseline {baseline!r} is none of the pipelines {', '.join(shown)}")
    _check(metrics, margins)
    entries: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    tables: dict[str, Table] = {}
    became: dict[str, set[str]] = {info.name: set() for info in metrics}
    for each in measured:
        became.setdefault(each.metric, set()).add(each.outcome)
    for info in metrics:
        made = table(measured, info, tuple(shown))
        if info.better not in ("higher", "lower"):
            left_out.append({"metric": info.name, "reason": "it has no better and no worse"})
        elif not any(column.planned for column in made.columns.values()):
            left_out.append({"metric": info.name, "reason": "nothing was scored"})
        elif "not_applicable" in became[info.name] <= UNTRIED:
            left_out.append({"metric": info.name, "reason": "it applies to none of these runs"})
        else:
            tables[info.name] = made
            entries += [
                _entry(made, info, statistic, baseline, shown, margins.get(info.name), seed)
                for statistic in statistics_of(info, made)
            ]
    infos = {info.name: info for info in metrics if info.name in tables}
    chosen = axes(infos.values())
    points, by = front(tables, infos, chosen, tuple(shown), seed)
    return {
        "baseline": baseline,
        "confidence": CONFIDENCE,
        "metrics": entries,
        "left_out": left_out,
        "axes": chosen,
        "axis_statistics": by,
        "front": points,
        "varies": _varies(texts or {}, shown),
    }


def statistics_of(info: MetricInfo, made: Table) -> tuple[str, ...]:
    """Those that were asked for; else of a latency mean, p50 and p95, of what is counted a rate, else the mean."""
    if info.statistics:
        return info.statistics
    if info.kind == "latency" and not made.is_corpus:
        return ("mean", "p50", "p95")
    return ("rate",) if made.is_corpus or (made.is_binary and info.kind != "cost") else ("mean",)


def axes(metrics: Any) -> dict[str, str | None]:
    """The metric that stands for each of latency, accuracy and cost: the best known one that was scored, else the
    first of its kind."""
    of: dict[str, list[str]] = {kind: [each.name for each in metrics if each.kind == kind] for kind in KINDS}
    known = {"latency": LATENCIES, "accuracy": ACCURACIES, "cost": ("cost",)}
    return {
        kind: next((each for each in (*names, *of[kind]) if each in of[kind]), None) for kind, names in known.items()
    }


def _check(metrics: Sequence[MetricInfo], margins: Mapping[str, float]) -> None:
    names = [info.name for info in metrics]
    for info in metrics:
        if names.count(info.name) > 1:
            raise ValueError(f"the metric {info.name!r} is given twice; compare one version of it")
        checks.choice(info.kind, f"kind of {info.name}", KINDS)
        for statistic in info.statistics:
            checks.choice(statistic, f"statistic of {info.name}", STATISTICS)
    for name, margin in margins.items():
        if not (isinstance(margin, (int, float)) and 0 < margin <= checks.LARGEST):
            raise ValueError(f"the margin of {name} is {margin}; give a difference above 0, in the metric's unit")


def _entry(
    made: Table, info: MetricInfo, statistic: str, baseline: str, shown: Mapping[str, str], margin: float | None,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    base = made.columns[baseline]
    others = [name for name in shown if name != baseline]
    contrasts = {name: contrast(made, made.columns[name], base, statistic, seed) for name in others}
    adjusted = dict(zip(others, holm(contrasts[name].p for name in others), strict=True))
    rows = []
    for name, hashed in shown.items():
        column = made.columns[name]
        own = figure(made, column, statistic, seed)
        row: dict[str, Any] = {
            "pipeline": name,
            "pipeline_hash": hashed,
            "planned": column.planned,
            "run": column.run,
            "scored": column.scored,
            "unanswered": column.unanswered,
            "value": own.value,
            "interval": own.interval and list(own.interval),
            "reason": own.reason or None,
        }
        of = contrasts.get(name)
        row |= _against(made, info, statistic, column, base, of, adjusted.get(name), margin)
        if of is not None:
            too_few = _too_few_for(of, contrasts.values()) if row["verdict"] == "tied" else ""
            row["undecided_because"] = of.reason or too_few or None
        row["variance"] = components(column.runs)
        if row["verdict"] == "tied" and statistic == "mean" and of is not None:
            row["settled_by"] = settle(made, column, base)
        row["sentence"] = sentence(info, statistic, row, baseline, of, len(others))
        rows.append(row)
    return {
        "metric": info.name,
        "version": info.version,
        "unit": info.unit,
        "statistic": statistic,
        "better": info.better,
        "kind": info.kind,
        "margin": margin,
        "pipelines": rows,
    }


NOTHING: dict[str, Any] = {
    "difference": None, "difference_interval": None, "p": None, "p_adjusted": None, "test": None, "paired": None,
    "wins": None, "losses": None, "ties": None, "verdict": None, "non_inferior": None, "settled_by": None,
}  # fmt: skip
"""What the baseline has of a comparison with itself."""


def _against(
    made: Table, info: MetricInfo, statistic: str, column: Column, base: Column, of: Contrast | None,
    p_adjusted: float | None, margin: float | None,
) -> dict[str, Any]:  # fmt: skip
    if of is None:
        return dict(NOTHING)
    outcomes = _outcomes(made, column, base, info.better == "higher", statistic)
    return NOTHING | {
        "difference": of.difference,
        "difference_interval": of.interval and list(of.interval),
        "p": of.p,
        "p_adjusted": p_adjusted,
        "test": of.test or None,
        "paired": of.pairs,
        "wins": int((outcomes > 0).sum()),
        "losses": int((outcomes < 0).sum()),
        "ties": int((outcomes == 0).sum()),
        "verdict": _verdict(of, p_adjusted, info.better),
        "non_inferior": _non_inferior(of, margin, info.better),
    }


def _verdict(of: Contrast, p_adjusted: float | None, better: str) -> str:
    if of.p is None or p_adjusted is None:
        return "too_few"
    way = of.shift if of.difference is None else of.difference
    if p_adjusted >= LEVEL or way == 0:
        return "tied"
    return "better" if (way > 0) == (better == "higher") else "worse"


def _too_few_for(of: Contrast, contrasts: Iterable[Contrast]) -> str:
    """Why nothing could be told, had all pairs gone the same way: the signs of n pairs fall so once in 2^(n-1) times,
    and Holm multiplies that by how many comparisons are no surer than this one."""
    if of.p is None:
        return ""
    among = sum(each.p is not None and each.clusters <= of.clusters for each in contrasts)
    if 2.0 ** (1 - of.clusters) * among < LEVEL:
        return ""
    return f"{of.clusters} paired samples can show no difference in {among} comparisons, however large it is"


def _non_inferior(of: Contrast, margin: float | None, better: str) -> bool | None:
    """Whether the whole interval is on the right side of the margin: by it, it is worse with 2.5 % at most."""
    if margin is None or of.interval is None:
        return None
    low, high = of.interval
    return low > -margin if better == "higher" else high < margin


def outcomes(made: Table, pipeline: str, baseline: str, better: str, statistic: str) -> dict[str, int]:
    """By sample whether the pipeline won (1), lost (−1) or tied (0); a sample that one of them lacks is left out."""
    found = _outcomes(made, made.columns[pipeline], made.columns[baseline], better == "higher", statistic)
    return {name: int(each) for name, each in zip(made.samples, found, strict=True) if not np.isnan(each)}


def _outcomes(made: Table, column: Column, base: Column, higher: bool, statistic: str) -> checks.Floats:
    """+1 won, −1 lost, 0 the same, NaN not compared."""
    a, b = column.values, base.values
    if statistic == "rate" and made.is_corpus:
        # Of an empty reference there is no rate; the insertions alone say which is better.
        a, b = (each.errors / np.where(each.totals > 0, each.totals, 1.0) for each in (column, base))
    with np.errstate(invalid="ignore"):
        near = np.isfinite(a) & np.isfinite(b) & (np.abs(a - b) <= SAME * np.maximum(np.abs(a), np.abs(b)))
        won = np.where(near | (a == b), 0.0, np.where((a > b) == higher, 1.0, -1.0))
    return np.where(np.isnan(a) | np.isnan(b), np.nan, won)


def _varies(texts: Mapping[tuple[str, str], Sequence[str]], shown: Mapping[str, str]) -> list[dict[str, Any]]:
    """Per pipeline, of the samples that ran more than once, how many did not answer the same each time."""
    rows = []
    for name in shown:
        several = [said for (pipeline, _), said in texts.items() if pipeline == name and len(said) > 1]
        differ = sum(len(set(said)) > 1 for said in several)
        share = differ / len(several) if several else None
        rows.append({"pipeline": name, "samples": len(several), "differ": differ, "share": share})
    return rows


assert set(QUANTILES) < set(STATISTICS)
