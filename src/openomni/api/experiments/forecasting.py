"""What an experiment will take and cost, before it runs: as far as what ran through its pipelines before says it."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, NamedTuple

from django.db.models import Count, Sum

from ..datasets.models import DatasetUtterance
from ..records.models import Progress, Task
from . import playing
from .models import IMPORTED, Cell, Experiment, ExperimentPipeline, Pace
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
    to_run = (Cell.Status.PLANNED, Cell.Status.QUEUED, Cell.Status.RUNNING)
    waiting = Cell.objects.filter(experiment=experiment, status__in=to_run).order_by()
    said = DatasetUtterance.objects.filter(sample__in=waiting.values("sample")).order_by()
    utterances = dict(said.values("sample").annotate(said=Count("pk")).values_list("sample", "said"))
    found: dict[int, _Left] = {}
    counted = waiting.values("pipeline", "sample").annotate(runs=Count("pk"), seconds=Sum("sample__seconds"))
    for pipeline, sample, runs, seconds in counted.values_list("pipeline", "sample", "runs", "seconds"):
        turns, sound = found.get(pipeline, _Left(0, 0.0))
        found[pipeline] = _Left(turns + runs * max(utterances.get(sample, 0), 1), sound + (seconds or 0.0))
    return found


def _seconds_a_turn(experiment: Experiment, row: ExperimentPipeline) -> float | None:
    """From a cell's first turn on until its last is over, by turns, as its cells took here at this pace, with this
    player and the same stages given."""
    ran = Cell.objects.filter(
        project_id=row.project_id, pipeline__hash=row.hash, experiment__pace=experiment.pace, status=Cell.Status.DONE,
        started_at__isnull=False, ended_at__isnull=False,
    ).select_related("experiment")  # fmt: skip
    alike = [cell for cell in ran.order_by("-ended_at")[:LATELY] if _alike(cell.experiment, experiment)]
    said = DatasetUtterance.objects.filter(sample__in={cell.sample_id for cell in alike}).order_by()
    utterances: dict[Any, int] = dict(said.values("sample").annotate(said=Count("pk")).values_list("sample", "said"))
    turns = sum(len(cell.played.get("turns", ())) or max(utterances.get(cell.sample_id, 0), 1) for cell in alike)
    lasted = math.fsum(
        (cell.ended_at - cell.started_at).total_seconds() for cell in alike if cell.started_at and cell.ended_at
    )
    return lasted / turns if turns else None


def _alike(one: Experiment, other: Experiment) -> bool:
    if IMPORTED in one.manifest:
        return False  # it ran on another server's machines
    return one.given == other.given and playing.words(one.player) == playing.words(other.player)


def _cost_a_turn(project_id: str, hash_: str) -> dict[str, float]:
    """By currency, over those turns of which each stage that an agent took says its cost, as `report cost` has it;
    nothing where there are none."""
    tasks = Task.objects.filter(project_id=project_id, turn__pipeline_hash=hash_).exclude(
        turn__status=Progress.SUPERSEDED
    )
    costs: dict[str, dict[str, float]] = {}
    unknown = set[str]()
    for turn, usage, agent in tasks.order_by("-pk").values_list("turn_id", "usage", "agent")[:TASKS]:
        if usage is None and not agent:
            continue  # what no agent ever took cost nothing
        cost = (usage or {}).get("cost")
        if isinstance(cost, int | float) and math.isfinite(cost):
            of = costs.setdefault(turn, {})
            currency = str((usage or {}).get("currency") or "")
            of[currency] = of.get(currency, 0.0) + cost
        else:
            unknown.add(turn)
    known = [of for turn, of in costs.items() if turn not in unknown]
    currencies = {currency for of in known for currency in of}
    return {each: math.fsum(of.get(each, 0.0) for of in known) / len(known) for each in sorted(currencies)}
