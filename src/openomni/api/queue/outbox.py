"""Hands queued work over to the bus: what was written with its rows is on the bus soon after, whatever fails meanwhile.

A row is marked once the bus has the work on disk. A crash between the two hands it over twice, which the bus drops by
the work's id and attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from django.utils import timezone

from ...bus import streams, work
from ...bus.connection import Bus
from ..ground import bus_line
from ..records.models import Turn
from .models import QueuedWork

EVERY = 1.0
"""Seconds between looks for what nobody handed over at once."""
BATCH = 100
Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function in a thread with a connection to the database."""


async def watch(bus: Bus, run: Run) -> None:
    """Hands over for ever."""
    while True:
        if found := await run(waiting):
            await _enqueue(bus, found)
            await run(partial(_handed, found))
        else:
            await asyncio.sleep(EVERY)


def hand_over(session_id: str) -> None:
    """Hands over what of a session need not wait, at once. Raises BusError, or BusAway, when the bus does not take it;
    `watch` does it then when it is back."""
    if found := waiting(session_id):
        bus_line.run(lambda bus: _enqueue(bus, found))
        _handed(found)


async def _enqueue(bus: Bus, found: list[work.Work]) -> None:
    # Agents claim through the project's consumers, which are there from its first work on.
    for project in {each.project for each in found}:
        await streams.work_consumer(bus, project)
    for each in found:
        await work.enqueue(bus, each)


def waiting(session_id: str = "") -> list[work.Work]:
    """The work that is to be handed over now, oldest first, of one session or of all."""
    rows = QueuedWork.objects.filter(waits=False, handed_at=None)
    if session_id:
        rows = rows.filter(session_id=session_id)
    return [msgspec.convert(row.work, work.Work) for row in rows[:BATCH]]


def _handed(found: list[work.Work]) -> None:
    now = timezone.now()
    for each in found:
        # An attempt that was put there meanwhile is still to be handed over.
        QueuedWork.objects.filter(pk=each.work_id, work__attempt=each.attempt).update(handed_at=now)
        if each.kind == "turn":
            Turn.objects.filter(pk=each.subject_id, project_id=each.project).update(queued_at=now)
