"""How far an experiment is, as the command line, REST and its page say it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Case, CharField, Count, Q, QuerySet, Value, When
from django.utils import timezone

from ..ground import bus_line
from ..records.models import UNFINISHED, Progress, Turn
from ..scores.models import Score, Target
from .models import Cell, Experiment, ExperimentPipeline
from .planning import WARM_UP
from .runnable import Runnable

LATE_AFTER_S = 3.0
"""Voice-to-voice above which a reply is late."""
RATE_OVER = timedelta(minutes=2)
"""What the time left follows from: the cells that ended within it."""
KINDS = ("failed", "cancelled", "missing", "unanswered", "interrupted", "early", "late", "on_time")
"""What a turn counts as: the first of these that holds."""
WAITING = (Cell.Status.PLANNED, Cell.Status.QUEUED, Cell.Status.RUNNING)


@dataclass(slots=True)
class Counts:
    """Cells, warm-up left out. `planned` are all; `waiting` those that are not queued yet, `running` those that are."""

    planned: int = 0
    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def run(self) -> int:
        return self.done + self.failed

    def add(self, status: str, cells: int, given_up: bool) -> None:
        self.planned += cells
        name = {Cell.Status.PLANNED: "waiting", Cell.Status.QUEUED: "running"}.get(Cell.Status(status), status)
        if name == "waiting" and given_up:
            name = "cancelled"
        setattr(self, name, getattr(self, name) + cells)


@dataclass(slots=True)
class State:
    """An experiment as it stands. `left_s`: seconds that it takes yet, None where nothing tells; `held_up`: why it does
    not go on, or not as fast as it could, a line each."""

    experiment: Experiment
    cells: Counts = field(default_factory=Counts)
    warm_up: Counts = field(default_factory=Counts)
    by_pipeline: list[tuple[ExperimentPipeline, Counts]] = field(default_factory=list)
    scored: int = 0
    left_s: float | None = None
    held_up: list[str] = field(default_factory=list)


def states(experiments: Iterable[Experiment]) -> list[State]:
    """Of several, by two queries: how many cells are how far."""
    found = {each.pk: State(each) for each in experiments}
    pipelines: dict[int, tuple[ExperimentPipeline, Counts]] = {}
    for row in ExperimentPipeline.objects.filter(experiment__in=found):
        pipelines[row.pk] = row, Counts()
        found[row.experiment_id].by_pipeline.append(pipelines[row.pk])
    counted = Cell.objects.filter(experiment__in=found).order_by()
    warming = Case(When(repeat=WARM_UP, then=Value("1")), default=Value(""), output_field=CharField())
    counted = counted.values("experiment", "pipeline", "status", warming=warming).annotate(cells=Count("pk"))
    for row in counted:
        state = found[row["experiment"]]
        given_up = state.experiment.status == Experiment.Status.CANCELLED
        for counts in [state.warm_up] if row["warming"] else [state.cells, pipelines[row["pipeline"]][1]]:
            counts.add(row["status"], row["cells"], given_up)
    return list(found.values())


def state(experiment: Experiment) -> State:
    """Of one, with all there is to say."""
    (found,) = states([experiment])
    cells = Cell.objects.filter(experiment=experiment).exclude(repeat=WARM_UP)
    scores = Score.objects.filter(project_id=experiment.project_id, target=Target.CELL)
    found.scored = cells.filter(pk__in=scores.values("target_id")).count()
    if experiment.status == Experiment.Status.RUNNING:
        found.left_s = _left(found)
        found.held_up = _held_up(found)
    return found


def _left(found: State) -> float | None:
    """From how many ended lately."""
    now = timezone.now()
    over = Cell.objects.filter(experiment=found.experiment, ended_at__gt=now - RATE_OVER)
    ended = over.filter(status__in=(Cell.Status.DONE, Cell.Status.FAILED)).order_by("ended_at")
    count, first = ended.count(), ended.values_list("ended_at", flat=True).first()
    waiting = sum(each.waiting + each.running for each in (found.cells, found.warm_up))
    if not waiting:
        return 0.0
    if count < 2 or first is None:
        return None
    return round(waiting * (now - first).total_seconds() / count, 1)


def _held_up(found: State) -> list[str]:
    if not sum(each.waiting + each.running for each in (found.cells, found.warm_up)):
        return ["all is run, and is being scored"]
    if not bus_line.connected():
        return ["the bus does not answer just now; what runs goes on when it is back"]
    now = Runnable.now(found.experiment)
    waiting = Cell.objects.filter(experiment=found.experiment, status=Cell.Status.PLANNED).order_by()
    keys = waiting.values_list("pipeline", flat=True).distinct()
    lines = [line for key in keys for line in now.held_up.get(key, [])]
    slots, busy = (sum(getattr(agent, name) for agent in now.hosts) for name in ("slots", "busy"))
    if not lines and slots and busy >= slots:
        lines = [f"the agents are busy with as much as they do at once ({busy} of {slots} slots)"]
    return list(dict.fromkeys(lines))


def turns(experiment: Experiment) -> dict[str, int]:
    """What became of the turns that are over, warm-up left out; each counts as one kind."""
    counted = dict.fromkeys(("total", *reversed(KINDS)), 0)
    for row in _kinds(experiment).values("became").annotate(turns=Count("pk")):
        counted[row["became"]] += row["turns"]
        counted["total"] += row["turns"]
    return counted


def _kinds(experiment: Experiment) -> QuerySet[Turn, Any]:
    cells = Cell.objects.filter(experiment=experiment).exclude(repeat=WARM_UP).exclude(session="")
    over = Turn.objects.filter(session__in=cells.values("session")).exclude(status__in=UNFINISHED).order_by()
    heard = "voice_to_voice_s"
    kinds = {
        "failed": Q(status=Progress.FAILED),
        "cancelled": ~Q(status=Progress.COMPLETED),
        "missing": ~Q(outcome="unanswered") & Q(**{f"{heard}__isnull": True}),
        "unanswered": Q(outcome="unanswered"),
        "interrupted": Q(interrupted=True),
        "early": Q(**{f"{heard}__lt": 0}),
        "late": Q(**{f"{heard}__gt": LATE_AFTER_S}),
    }
    became = Case(
        *(When(holds, then=Value(name)) for name, holds in kinds.items()), default=Value("on_time"),
        output_field=CharField(),
    )  # fmt: skip
    return over.annotate(became=became)


def clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, second = divmod(max(round(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def told(found: State) -> dict[str, Any]:
    """As the command line and REST give it."""
    experiment = found.experiment
    version = experiment.dataset
    return {
        "experiment": experiment.name,
        "status": experiment.status,
        "dataset": {"name": version.dataset.name, "version": version.number, "hash": version.hash},
        "seed": experiment.seed,
        "pace": experiment.pace,
        "repeats": experiment.repeats,
        "baseline": experiment.baseline,
        "pipelines": [
            {"pipeline": row.label, "pipeline_hash": row.hash, "cells": _cells(counts)}
            for row, counts in found.by_pipeline
        ],
        "cells": {**_cells(found.cells), "scored": found.scored},
        "created_at": experiment.created_at,
        "started_at": experiment.started_at,
        "ended_at": experiment.ended_at,
    }


def whole(found: State) -> dict[str, Any]:
    """With what takes longer to find out."""
    more = {"left_s": found.left_s, "held_up": found.held_up, "warm_up": _cells(found.warm_up)}
    return told(found) | more | {"turns": turns(found.experiment), "manifest": found.experiment.manifest}


def _cells(counts: Counts) -> dict[str, int]:
    names = ("planned", "waiting", "running", "run", "done", "failed", "cancelled")
    return {name: getattr(counts, name) for name in names}
