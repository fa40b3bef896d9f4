"""The single writer of the record plane: takes records from the bus and writes them, so that writing delays no turn.

A batch is one transaction and is acknowledged after its commit, so a record is written at least once; since an upsert
ignores what is not newer, it counts once. What can never be written goes to the dead letters with a line in the log; a
database that is away holds everything up, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    close_old_connections,
    connections,
    transaction,
)

from ... import records as recorded
from ...background import Background
from ...bus import records, streams
from ...bus.connection import Bus
from ...records import AnyRecord
from ..accounts.models import Project
from ..ground.bus_line import Connect
from ..ground.loop_thread import LoopThread
from ..ground.statements import Statements
from . import writing

log = logging.getLogger("openomni.api.recorder")

T = TypeVar("T")
Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function in the thread that has the database."""
Watch = Callable[[Bus, Run], Awaitable[None]]
"""Something that looks after the bus for ever."""
_projects = Statements(Project)
RETRY_AFTER, LONGEST = 1.0, 5.0
"""Seconds to wait after the bus refused what the recorder needs of it, at first and at most."""
_PASSING = ("08", "40", "53", "55", "57")
"""Classes of PostgreSQL's codes that say nothing about what was written: connection, conflict, resources, operator."""


def start(connect: Connect, *beside: Watch) -> Callable[[], None]:
    """Writes what comes on the bus from now on, in a thread of its own; gives what stops it.

    What is to be done `beside` it has the same connection and the same thread with the database.
    """
    thread = LoopThread("recorder", lambda: _record(connect, beside))
    thread.start()
    return thread.stop


async def _record(connect: Connect, beside: Sequence[Watch]) -> None:
    loop = asyncio.get_running_loop()
    bus = await connect()
    # One thread, for a database connection belongs to the thread that opened it.
    with ThreadPoolExecutor(1, "recorder-db") as database:

        async def run(act: Callable[[], T]) -> T:
            return await loop.run_in_executor(database, _reconnected, act)

        async def handle(batch: list[AnyRecord]) -> None:
            try:
                await run(lambda: write_batch(batch))
            except (OperationalError, InterfaceError) as error:
                if await run(partial(is_away, error)):
                    raise records.RecordsAway(f"the database is away: {' '.join(str(error).split())}") from None
                raise

        work: dict[str, Callable[[], Awaitable[None]]] = {"writing records": lambda: _consume(bus, handle, run)}
        for watch in beside:
            work[f"looking after {watch.__module__.rpartition('.')[2]}"] = partial(watch, bus, run)
        running = [Background(each, name, first=RETRY_AFTER, longest=LONGEST) for name, each in work.items()]
        try:
            await asyncio.Event().wait()
        finally:
            for each in running:
                await each.stop()
            await loop.run_in_executor(database, connections.close_all)
            await bus.close()


async def _consume(bus: Bus, handle: records.Handler, run: Run) -> None:
    await streams.declare(bus)
    # Before the first turn is queued, too: an agent asks for work as soon as it is there.
    for project in await run(lambda: list(Project.objects.values_list("pk", flat=True))):
        await streams.work_consumer(bus, project)
    await records.consume(bus, handle)


def _reconnected(act: Callable[[], T]) -> T:
    # A connection that broke since the last time is replaced, as it is before each request.
    close_old_connections()
    return act()


def write_batch(batch: Sequence[AnyRecord]) -> None:
    """Writes all of the batch in one transaction, or nothing of it.

    Raises Unwritable when one of it can never be written, OperationalError when the database is away.
    """
    try:
        bounded = [recorded.bounded(record) for record in batch]
        with transaction.atomic():
            _check_projects({record.project for record in bounded})
            writing.write_all(bounded)
    except (writing.RecordRefused, DataError, IntegrityError, ValueError, OverflowError) as error:
        raise records.Unwritable(" ".join(str(error).split())) from error


def is_away(error: OperationalError | InterfaceError) -> bool:
    """Whether what failed to be written says nothing about itself: the database is gone, locked or full."""
    code = getattr(error.__cause__, "sqlstate", None) or ""
    if code.startswith(_PASSING) or "full" in str(error):
        return True
    try:
        # It needs the lock of a writer, and changes nothing.
        Project.objects.filter(pk="").update(name="")
    except (OperationalError, InterfaceError):
        return True
    return False


def _check_projects(named: set[str]) -> None:
    known = {key for (key,) in _projects.values("slug", slug=named)}
    if unknown := named - known:
        raise writing.RecordRefused(f"there is no project {min(unknown)!r}")
