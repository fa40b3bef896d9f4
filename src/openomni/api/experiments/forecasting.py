"""What an experiment will take and cost, before it runs: as far as what ran through its pipelines before says it."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, NamedTuple

from django.db.models import Count, Sum

from ..datasets.models import DatasetUtterance
from ..records.models import Task
from .models import Cell, Experiment, ExperimentPipeline, Pace
from .runnable import Runnable

LATELY = 200
"""Cells of a pipeline, the newest, by which it is told how long one takes."""
TASKS = 2_000
"""Of a pipeline, the newest, by which it is told what a turn costs."""


class _Left(NamedTuple):
    """What a pipeline has still to run."""

    turns: int
    seconds: float
    """Of sound that is said to it."""


def forecast(experiment: Experiment) -> dict[str, Any]:
    """Of what is still to be run. `takes_s` is None where a pipeline never ran at this pace, and these are `untimed`;
    at real-time pace what is said takes `at_least_s` in any case. `costs` by currency, of pipelines whose earlier turns
    say what they cost; others are `unpriced`."""
    rows = list(experiment.pipelines.order_by("place"))
    left = _left(experiment)
    untimed, unpriced, takes, costs = list[str](), list[str](), 0.0, defaultdict[str, float](float)
    for row in rows:
        of = left.get(row.pk, _Left(0, 0.0))
        if not of.turns:
            continue
        each = _seconds_a_turn(experiment, row)
        if each is None:
            untimed.append(row.label)
        else:
            takes += each * of.turns
        priced = _cost_a_turn(experiment.project_id, row.hash)
        if not priced:
            unpriced.append(row.label)
        for currency, cost in priced.items():
            costs[currency] += cost * of.turns
    fast = experiment.pace == Pace.FAST
    slots = max(1, sum(agent.slots for agent in Runnable.now(experiment).hosts)) if fast else 1
    return {
        "experiment": experiment.name,
        "turns": sum(each.turns for each in left.values()),
        "takes_s": None if untimed else round(takes / slots, 1),
        "at_least_s": None if fast else round(math.fsum(each.seconds for each in left.values()), 1),
        "untimed": untimed,
        "costs": [{"currency": currency, "cost": cost} for currency, cost in sorted(costs.items())],
        "unpriced": unpriced,
    }


def _left(experiment: Experiment) -> dict[int, _Left]:
    """By pipeline."""
    waiting = Cell.objects.filter(experiment=experiment).exclude(status__in=Cell.OVER).order_by()
    said = DatasetUtterance.objects.filter(sample__in=waiting.values("sample")).order_by()
    utterances = dict(said.values("sample").annotate(said=Count("pk")).values_list("sample", "said"))
    found: dict[int, _Left] = {}
    counted = waiting.values("pipeline", "sample").annotate(runs=Count("pk"), seconds=Sum("sample__seconds"))
    for pipeline, sample, runs, seconds in counted.values_list("pipeline", "sample", "runs", "seconds"):
        turns, sound = found.get(pipeline, _Left(0, 0.0))
        found[pipeline] = _Left(turns + runs * max(utterances.get(sample, 0), 1), sound + (seconds or 0.0))
    return found


def _seconds_a_turn(experiment: Experiment, row: ExperimentPipeline) -> float | None:
    """From a cell's first turn on until its last is over, by turns, as its cells took at this pace."""
    ran = Cell.objects.filter(
        project_id=row.project_id, pipeline__hash=row.hash, experiment__pace=experiment.pace, status=Cell.Status.DONE,
        started_at__isnull=False, ended_at__isnull=False,
    )  # fmt: skip
    lately = list(ran.order_by("-ended_at").values_list("sample", "started_at", "ended_at")[:LATELY])
    said = DatasetUtterance.objects.filter(sample__in={sample for sample, *_ in lately}).order_by()
    utterances = dict(said.values("sample").annotate(said=Count("pk")).values_list("sample", "said"))
    turns = sum(max(utterances.get(sample, 0), 1) for sample, *_ in lately)
    lasted = math.fsum((end - start).total_seconds() for _, start, end in lately if start and end)
    return lasted / turns if turns else None


def _cost_a_turn(project_id: str, hash_: str) -> dict[str, float]:
    """By currency; nothing where no turn of it says."""
    tasks = Task.objects.filter(project_id=project_id, turn__pipeline_hash=hash_, usage__isnull=False)
    turns, costs = set[str](), defaultdict[str, float](float)
    for turn, usage in tasks.order_by("-pk").values_list("turn_id", "usage")[:TASKS]:
        turns.add(turn)
        cost = usage.get("cost")
        if isinstance(cost, int | float) and math.isfinite(cost):
            costs[str(usage.get("currency") or "")] += cost
    return {currency: cost / len(turns) for currency, cost in costs.items()}
