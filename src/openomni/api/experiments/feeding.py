"""Feeds cells to the queue, some at a time, and ends an experiment when all of its cells are over.

A cell becomes a session of its own with a turn for each utterance, which the queue treats as any other: what a killed
agent had is handed on, what comes twice counts once, and a server that starts again goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from ...bus.connection import Bus
from ..queue.wake import released
from . import calling, queueing, scored
from .models import Cell, Experiment, Pace
from .runnable import Runnable

log = logging.getLogger("openomni.api")

EMPTIES = timedelta(seconds=30)
"""How long taking an experiment out of the queue may take: longer than the bus is waited for."""
EVERY = 1.0
"""Seconds between looks for cells that may be fed."""
PER_SLOT, LEAST = 4, 64
"""Cells that are queued at a time: for each slot of the agents that are there, and in any case."""
SHARE = 0.25
"""Of those, how many must be over before more are queued: a few at a time would cost as much as many."""
Run = Callable[[Callable[[], Any]], Awaitable[Any]]


async def watch(bus: Bus, run: Run) -> None:
    """Feeds for ever. The outbox hands over what is fed."""
    scoring: dict[int, asyncio.Task[None]] = {}
    try:
        while True:
            fed = 0
            scoring = {key: task for key, task in scoring.items() if not task.done()}
            for key in await run(_running):
                try:
                    fed += (found := await run(partial(feed, key)))
                    ends = not found and key not in scoring and await run(partial(is_over, key))
                except Exception:
                    # It is this one's fault, and no reason to keep those of others from running.
                    log.exception("experiment %d could not be fed; it is tried again", key)
                    continue
                if ends:
                    scoring[key] = asyncio.create_task(_end(key, run), name=f"scoring experiment {key}")
            if not fed:
                await queueing.room.wait(EVERY)
    finally:
        for task in scoring.values():
            task.cancel()


async def _end(key: int, run: Run) -> None:
    await scored.until_scored(key)
    await run(partial(end, key))


def _running() -> list[int]:
    return list(Experiment.objects.filter(status=Experiment.Status.RUNNING).order_by("pk").values_list("pk", flat=True))


def feed(key: int) -> int:
    """Queues as many of an experiment's cells as there is room for, of the pipelines that somebody can run now; how
    many those were."""
    with transaction.atomic():
        experiment = Experiment.objects.select_for_update().filter(pk=key, status=Experiment.Status.RUNNING).first()
        if experiment is None or _is_emptied(experiment):
            return 0
        if not experiment.cells.filter(status=Cell.Status.PLANNED).exists():
            return 0  # each cell that ends comes here: no reason to look at the whole fleet
        now = Runnable.now(experiment)
        most = calling.WINDOW if experiment.pace == Pace.REALTIME else _window(now)
        free = most - experiment.cells.filter(status__in=queueing.Fed).count()
        if free < most * SHARE:
            return 0
        planned = experiment.cells.filter(status=Cell.Status.PLANNED, pipeline__in=list(now.pipelines))
        cells = list(planned.order_by("order").select_related("pipeline", "sample")[:free])
        if experiment.pace == Pace.REALTIME:
            calling.put(experiment, cells)
        else:
            queueing.put(experiment, cells, now.pipelines)
    if cells:
        released.call()
    return len(cells)


def _is_emptied(experiment: Experiment) -> bool:
    """Whether somebody is about to take all of it out of the queue; not one who died of it."""
    return experiment.emptied_at is not None and timezone.now() - experiment.emptied_at < EMPTIES


def _window(now: Runnable) -> int:
    return max(LEAST, PER_SLOT * sum(agent.slots for agent in now.hosts))


def is_over(key: int) -> bool:
    """Whether nothing of it is to be run any more."""
    waiting = (Cell.Status.PLANNED, *queueing.Fed)
    return not Cell.objects.filter(experiment=key, status__in=waiting).exists()


def end(key: int) -> None:
    """It is done, unless something came in between."""
    with transaction.atomic():
        row = Experiment.objects.select_for_update().filter(pk=key, status=Experiment.Status.RUNNING).first()
        if row is not None and is_over(key):
            row.status, row.ended_at = Experiment.Status.DONE, timezone.now()
            row.save(update_fields=["status", "ended_at"])
