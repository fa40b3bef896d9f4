"""The comparison of an experiment's pipelines, made of what is kept of it, and kept until more of it is."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from django.core.cache import cache
from django.db.models import Count, Max, Q

from ...evaluation import comparison
from ...evaluation.measured import MetricInfo, Table, table
from ..ground.errors import bad_request, not_found
from ..scores.models import Score, Target
from . import measurements, played, playing
from .measurements import ComparedCell, Measurements
from .models import Cell, Experiment

KEPT_S = 24 * 3600
COMPUTED = 3
"""Counts up when the same rows give another comparison."""
_choosing = threading.Lock()
_locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
"""Of the comparisons that are being made."""


def compared(experiment: Experiment, baseline: str = "", metrics: Sequence[str] = ()) -> dict[str, Any]:
    """As `experiment compare --json` has it. Without a baseline it is the experiment's own.

    Raises Refusal for a baseline or a metric that it has not, OpenOmniError where the libraries are not installed.
    """
    key = (
        "comparison:"
        + hashlib.sha256(json.dumps([COMPUTED, _content(experiment), baseline, *metrics]).encode()).hexdigest()
    )
    kept = cache.get(key)
    if kept is None:
        # Of a large one it takes seconds: who asks for the same meanwhile waits for it, rather than to do it, too.
        with _lock(key):
            kept = cache.get(key)
            if kept is None:
                kept = _compared(experiment, baseline, metrics)
                cache.set(key, kept, KEPT_S)
    return {"experiment": experiment.name, **kept}


def _lock(key: str) -> threading.Lock:
    with _choosing:
        lock = _locks.get(key)
        if lock is None:
            lock = _locks[key] = threading.Lock()
        return lock


def _content(experiment: Experiment) -> list[Any]:
    """What changes when the comparison may."""
    cells = Cell.objects.filter(experiment=experiment)
    states = cells.order_by().values_list("status").annotate(count=Count("pk"), last=Max("ended_at"))
    about = Q(target=Target.CELL, target_id__in=cells.values("pk"))
    about |= Q(target=Target.REPEATS, target_id__startswith=f"{experiment.pk}:") | Q(target=Target.TURN)
    scores = Score.objects.filter(about, project_id=experiment.project_id).aggregate(n=Count("pk"), last=Max("pk"))
    pipelines = list(experiment.pipelines.values_list("label", "hash"))
    whole = [experiment.pk, experiment.baseline, experiment.margins, pipelines]
    return [*whole, sorted((*row[:2], str(row[2])) for row in states), scores["n"], scores["last"]]


def _compared(experiment: Experiment, baseline: str, metrics: Sequence[str]) -> dict[str, Any]:
    found = measurements.of(experiment)
    for name in metrics:
        if name not in found.metrics:
            not_found("metric scored of this experiment called", name, found.metrics)
    labels = pipelines_of(experiment)
    chosen = baseline or experiment.baseline
    if chosen not in labels:
        if not labels:
            bad_request(f"{experiment.name} has no pipeline to compare")
        not_found(f"pipeline of {experiment.name!r} called", chosen, labels)
    made = comparison.compare(
        found.measured,
        baseline=chosen,
        metrics=measurements.chosen(found, metrics),
        margins={name: margin for name, margin in experiment.margins.items() if margin > 0},
        seed=abs(experiment.seed),
        pipelines=labels,
        texts=found.texts,
    )
    # Of one that came from another server its texts stayed there, and so did its calls.
    kept = experiment.manifest.get("imported", {})
    return made | {
        "varies": kept.get("varies", made["varies"]),
        "player": playing.words(experiment.player),
        "players": played.players_of(experiment),
    }


def pipelines_of(experiment: Experiment) -> dict[str, str]:
    """Label → hash, in their order."""
    return dict(experiment.pipelines.order_by("place").values_list("label", "hash"))


# ---- sample by sample ----------------------------------------------------------------------------------------


def samples(experiment: Experiment, metric: str = "", baseline: str = "") -> dict[str, Any]:
    """Each sample's value of one metric through each pipeline, repeats averaged, and who won against the baseline.

    Without a metric it is the one that stands for latency. What never ended is `unanswered` and has no value.
    """
    found = measurements.of(experiment)
    infos = [info for info in measurements.chosen(found, [metric] if metric in found.metrics else []) if info.better]
    first = next((name for name in comparison.axes(infos).values() if name), "")
    infos.sort(key=lambda info: info.name != first)
    if metric and (metric not in found.metrics or not infos):
        not_found("metric with a direction scored of this experiment called", metric, found.metrics)
    # Before anything is scored, none of its samples has a value.
    info = infos[0] if infos else MetricInfo("")
    labels, base = pipelines_of(experiment), baseline or experiment.baseline
    if base not in labels:
        not_found(f"pipeline of {experiment.name!r} called", base, labels)
    made = table(found.measured, info, tuple(labels))
    statistic = comparison.statistics_of(info, made)[0]
    won = {name: comparison.outcomes(made, name, base, info.better, statistic) for name in labels if name != base}
    sessions = _sessions(found)
    rows = [_sample(made, at, name, labels, won, sessions, statistic) for at, name in enumerate(made.samples)]
    return {
        "experiment": experiment.name, "baseline": base, "metric": info.name, "version": info.version,
        "unit": info.unit, "better": info.better, "statistic": statistic, "samples": rows,
    }  # fmt: skip


WORDS = {1: "won", -1: "lost", 0: "tied"}


def _sample(
    made: Table, at: int, sample: str, labels: Mapping[str, str], won: Mapping[str, Mapping[str, int]],
    sessions: Mapping[tuple[str, str], list[ComparedCell]], statistic: str,
) -> dict[str, Any]:  # fmt: skip
    through = []
    for name in labels:
        column = made.columns[name]
        value: float | None = float(column.values[at])
        if statistic == "rate" and made.is_corpus:
            value = float(column.errors[at] / column.totals[at]) if column.totals[at] > 0 else None
        outcome = won.get(name, {}).get(sample)
        through.append(
            {
                "pipeline": name,
                "value": value if value is not None and abs(value) < float("inf") else None,
                "unanswered": value == float("inf"),
                "outcome": None if outcome is None else WORDS[outcome],
                "sessions": [run.session for run in sessions.get((sample, name), []) if run.session],
            }
        )
    return {"sample": sample, "pipelines": through}


def _sessions(found: Measurements) -> dict[tuple[str, str], list[ComparedCell]]:
    runs: dict[tuple[str, str], list[ComparedCell]] = {}
    for run in found.runs:
        runs.setdefault((run.sample, run.pipeline), []).append(run)
    return runs
