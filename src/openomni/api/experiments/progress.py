"""How far an experiment is, as the command line, REST and its page say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Case, Count, Q, QuerySet, Value, When
from django.utils import timezone

from ..datasets.models import DatasetUtterance
from ..ground import bus_line, disk
from ..records.models import Turn
from ..reports.outcomes import OUTCOMES, outcome_of
from ..scores.models import Outcome, Score, Target
from . import played
from .models import Cell, Experiment, ExperimentPipeline
from .planning import WARM_UP
from .runnable import Runnable

LATE_AFTER_S = 3.0
"""Voice-to-voice above which a reply is late."""
NOTHING_FITS = 16 << 20
"""Bytes that are free, below which records and heartbeats are not kept."""
RATE_OVER = timedelta(minutes=2)
"""What the time left follows from: the cells that ended within it."""


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
    warming = Case(When(repeat=WARM_UP, then=Value(1)), default=Value(0))
    by = Cell.objects.filter(experiment__in=found).order_by().annotate(warming=warming)
    counted = by.values("experiment", "pipeline", "status", "warming").annotate(cells=Count("pk"))
    for key, pipeline, status, warms, cells in counted.values_list(
        "experiment", "pipeline", "status", "warming", "cells"
    ):
        state = found[key]
        given_up = state.experiment.status == Experiment.Status.CANCELLED
        for counts in [state.warm_up] if warms else [state.cells, pipelines[pipeline][1]]:
            counts.add(status, cells, given_up)
    return list(found.values())


def state(experiment: Experiment) -> State:
    """Of one, with all there is to say."""
    (found,) = states([experiment])
    cells = Cell.objects.filter(experiment=experiment).exclude(repeat=WARM_UP)
    scores = Score.objects.filter(project_id=experiment.project_id, target=Target.CELL, outcome=Outcome.SCORED)
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
    if (free := disk.free()) < NOTHING_FITS:
        return [f"the server's disk is full ({free >> 20} MiB are free); make room, and it goes on"]
    now = Runnable.now(found.experiment)
    # What is queued waits for an agent, too, when the last one has gone.
    to_run = (Cell.Status.PLANNED, Cell.Status.QUEUED, Cell.Status.RUNNING)
    waiting = Cell.objects.filter(experiment=found.experiment, status__in=to_run).order_by()
    keys = waiting.values_list("pipeline", flat=True).distinct()
    lines = [line for key in keys for line in now.held_up.get(key, [])]
    slots, busy = (sum(getattr(agent, name) for agent in now.hosts) for name in ("slots", "busy"))
    if not lines and slots and busy >= slots:
        lines = [f"the agents are busy with as much as they do at once ({busy} of {slots} slots)"]
    return list(dict.fromkeys(lines))


def turns(experiment: Experiment) -> dict[str, int]:
    """What became of the turns that it is to have, warm-up left out, by the rule of the latency report: each counts as
    one kind; what a cell never had counts as the cell does that failed or was cancelled, and else is missing."""
    cells = Cell.objects.filter(experiment=experiment).exclude(repeat=WARM_UP).order_by()
    counted = Counter[str]()
    for row in _alike(cells):
        waited = None if row["unheard"] else -1.0 if row["early"] else 2 * LATE_AFTER_S if row["late"] else 0.0
        told = (row["status"], row["outcome"], row["interrupted"], row["live"])
        counted[outcome_of(*told, waited, LATE_AFTER_S)] += row["turns"]
    for status in Cell.LEFT:
        left = cells.filter(status=status)
        counted[status] += max(_expected(left) - _turns_of(left).count(), 0)
    counted["missing"] += max(_expected(cells) - counted.total(), 0)
    return {"total": counted.total(), **{name: counted[name] for name in OUTCOMES}}


def _alike(cells: QuerySet[Cell]) -> QuerySet[Turn, Any]:
    """How many turns of the runs that count are alike in all that says what became of them."""
    waited = {"unheard": Q(voice_to_voice_s=None), "early": Q(voice_to_voice_s__lt=0),
              "late": Q(voice_to_voice_s__gt=LATE_AFTER_S)}  # fmt: skip
    held = {name: Case(When(holds, then=Value(1)), default=Value(0)) for name, holds in waited.items()}
    rows = _turns_of(cells)
    return rows.values("status", "outcome", "interrupted", "live", **held).annotate(turns=Count("pk"))


def _turns_of(cells: QuerySet[Cell]) -> QuerySet[Turn]:
    """Of the runs that count."""
    return Turn.objects.filter(session__in=cells.exclude(session="").values("session")).order_by()


def _expected(cells: QuerySet[Cell]) -> int:
    """Turns that all of the cells are to have: one for each utterance of their samples, or of those that a player said
    instead."""
    said = DatasetUtterance.objects.filter(sample__in=cells.values("sample")).order_by()
    of_each = dict(said.values("sample").annotate(said=Count("pk")).values_list("sample", "said"))
    spoken = played.spoken_of(cells)
    written = cells.exclude(pk__in=spoken) if spoken else cells
    runs = written.values("sample").annotate(runs=Count("pk")).values_list("sample", "runs")
    return sum(spoken.values()) + sum(count * max(of_each.get(sample, 0), 1) for sample, count in runs)


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
