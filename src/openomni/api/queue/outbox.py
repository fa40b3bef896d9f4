"""Hands queued work over to the bus: what was written with its rows is on the bus soon after, whatever fails meanwhile.

A row is marked once the bus has the work on disk. A crash between the two hands it over twice, which the bus drops by
the work's id and attempt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from ...bus import streams, work
from ...bus.connection import Bus, TooLarge
from ...bus.envelope import NO_GROUP
from ...errors import WrongUsage
from ..ground import bus_line
from ..records.models import Progress, Turn
from . import dead_letters
from .models import QueuedWork
from .wake import released

EVERY = 1.0
"""Seconds between looks for what nobody handed over at once."""
BATCH = 100
Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function in a thread with a connection to the database."""


async def watch(bus: Bus, run: Run) -> None:
    """Hands over for ever."""
    opened: set[str] = set()
    while True:
        if found := await run(waiting):
            refused = await _enqueue(bus, found, opened)
            for project, group in await run(partial(_handed, found, refused)):
                await streams.cancel(bus, project, group)
        else:
            await released.wait(EVERY)


def hand_over(session_id: str) -> None:
    """Hands over what of a session need not wait, at once. Raises BusError, or BusAway, when the bus does not take it;
    `watch` does it then when it is back."""
    if found := waiting(session_id):
        _handed(found, bus_line.run(lambda bus: _enqueue(bus, found, set())))


async def _enqueue(bus: Bus, found: list[work.Work], opened: set[str]) -> dict[str, str]:
    """Gives what the bus will never take, with the reason: it holds nothing else up. `opened`: the projects whose
    queues are known to be there."""
    refused: dict[str, str] = {}
    # Agents claim through the project's consumers, which are there from its first work on.
    for project in {each.project for each in found} - opened:
        await streams.work_consumer(bus, project)
        opened.add(project)
    for each in found:
        try:
            await work.enqueue(bus, each)
        except (TooLarge, WrongUsage) as error:
            refused[each.work_id] = f"it can't be queued: {error}"
    return refused


def waiting(session_id: str = "") -> list[work.Work]:
    """The work that is to be handed over now, oldest first, of one session or of all."""
    rows = QueuedWork.objects.filter(waits=False, handed_at=None)
    if session_id:
        rows = rows.filter(session_id=session_id)
    return [msgspec.convert(row.work, work.Work) for row in rows[:BATCH]]


def _handed(found: list[work.Work], refused: dict[str, str]) -> set[tuple[str, str]]:
    """Gives the groups, by project, that were cancelled while they were being handed over."""
    now = timezone.now()
    with transaction.atomic():
        for each in found:
            if each.work_id in refused:
                dead_letters.fail(each, refused[each.work_id])
                QueuedWork.objects.filter(pk=each.work_id).delete()
                continue
            # An attempt that was put there meanwhile is still to be handed over.
            QueuedWork.objects.filter(pk=each.work_id, work__attempt=each.attempt).update(handed_at=now)
            if each.kind == "turn":
                Turn.objects.filter(pk=each.subject_id, project_id=each.project).update(queued_at=now)
    return _cancelled([each for each in found if each.group != NO_GROUP])


def _cancelled(found: list[work.Work]) -> set[tuple[str, str]]:
    turns = Turn.objects.filter(pk__in=[each.subject_id for each in found], status=Progress.CANCELLED)
    gone = set(turns.values_list("pk", flat=True)) if found else set()
    if calls := {each.work_id for each in found if each.kind == "call"}:
        # A call that is over has no row any more; one that was cancelled meanwhile waits, for good.
        back = QueuedWork.objects.filter(pk__in=calls, waits=True)
        gone |= set(back.values_list("pk", flat=True))
        back.delete()
    return {(each.project, each.group) for each in found if each.subject_id in gone or each.work_id in gone}
