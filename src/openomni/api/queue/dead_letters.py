"""What failed too often: seen over REST, tried again, and noted on the turns that it was about."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from django.db import InterfaceError, OperationalError, transaction

from ... import bounds
from ...bus import dead, envelope, work
from ...bus.connection import Bus, BusError
from ...bus.dead import DeadLetter
from ...records import CellRecord
from ..ground import bus_line
from ..ground.caller import AuthedRequest
from ..ground.errors import Refusal, conflict
from ..records import writing
from ..records.models import UNFINISHED, Progress, Turn
from ..records.signals import cell_written, turn_failed
from . import following

log = logging.getLogger("openomni.api")

EVERY = 2.0
"""Seconds between looks for new letters."""


def of_project(request: AuthedRequest, after: int, limit: int) -> list[dict[str, Any]]:
    """The letters that the caller may see with a sequence above `after`, oldest first."""
    seen: list[DeadLetter] = []
    while len(seen) < limit:
        letters = bus_line.run(partial(dead.dead, project=request.auth.project_id, after=after, limit=limit))
        seen += [letter for letter in letters if _is_of(letter, request)]
        if len(letters) < limit:
            break
        after = letters[-1].sequence
    return [{**msgspec.structs.asdict(letter), "content": dead.shown(letter.content)} for letter in seen[:limit]]


def _is_of(letter: DeadLetter, request: AuthedRequest) -> bool:
    """Whoever is limited to a site or a device sees the turns of these, and no other letter."""
    if not request.auth.limits:
        return True
    turn = _work(letter)
    return turn is not None and Turn.objects.scoped(request).filter(pk=turn.subject_id).exists()


def retry(request: AuthedRequest, sequence: int) -> None:
    """Puts what a letter is about back where it came from. Raises Refusal: 404 when there is no such letter, 409 when
    it can't be put back."""
    project_id = request.auth.project_id
    found = bus_line.run(lambda bus: dead.dead(bus, project_id, sequence - 1, 1))
    if not found or found[0].sequence != sequence or not _is_of(found[0], request):
        raise Refusal(404, f"there is no dead letter {sequence} in this project; GET /api/v1/tasks/dead lists them")
    turn = _work(found[0])
    try:
        bus_line.run(lambda bus: dead.write_back(bus, project_id, sequence))
    except BusError as error:
        conflict(str(error))
    if turn:
        _set(turn, (Progress.FAILED,), status=Progress.PENDING, reason="")


async def watch(bus: Bus, database: Callable[[Callable[[], bool]], Awaitable[bool]]) -> None:
    """Looks after the turns of all projects' letters, those that lie there and each new one, until it is cancelled.

    A turn is put among the dead by the agent that failed on it, or by another one when those that ran it were killed.
    Then nobody is left to say that it failed, so that is done here, and what follows it in its session is queued.
    `database` runs a function in a thread with a connection.
    """
    last = 0
    while True:
        while letters := await dead.dead(bus, "*", last):
            for letter in letters:
                try:
                    await _look_after(bus, letter, database)
                except (OperationalError, InterfaceError):
                    raise
                except Exception as error:
                    # One letter stops no other.
                    log.warning("dead letter %d can't be looked after: %s", letter.sequence, error)
            last = letters[-1].sequence
        await asyncio.sleep(EVERY)


async def _look_after(bus: Bus, letter: DeadLetter, database: Callable[[Callable[[], bool]], Awaitable[bool]]) -> None:
    if (turn := _work(letter)) is not None:
        await database(partial(fail, turn, letter.reason))
    elif (call := _work(letter, "call")) is not None:
        await database(partial(_fail_call, call, letter.reason))
    else:
        # After an upgrade there are some that were of a newer version before it.
        await dead.write_back_readable(bus, letter)


def fail(turn: work.Work, reason: str) -> bool:
    """Marks a turn as failed unless its end was recorded; whether it was still to be marked. Of a call, its cell."""
    if turn.kind == "call":
        return _fail_call(turn, reason)
    return _set(turn, UNFINISHED, status=Progress.FAILED, reason=reason)


def _fail_call(call: work.Work, reason: str) -> bool:
    """Tells of a cell that its callers were lost one after the other: none of them is left to say so."""
    record = CellRecord(
        project=call.project, cell=call.subject_id, experiment=call.group, attempt=call.attempt, status="failed",
        reason=reason[: bounds.MAX_LINE],
    )  # fmt: skip
    with transaction.atomic():
        cell_written.send(CellRecord, record=record)
    return True


def _set(work: work.Work, been: Iterable[str], **fields: str) -> bool:
    with transaction.atomic():
        rows = Turn.objects.filter(pk=work.subject_id, project_id=work.project, status__in=been)
        changed = rows.update(**fields)
        turn = Turn.objects.filter(pk=work.subject_id, project_id=work.project).select_related("session").first()
        if changed and turn and turn.session.queued:
            writing.follow_queue(turn.session)
            if turn.status not in UNFINISHED:
                following.turn_is_over(turn)
                turn_failed.send(Turn, turn=turn)
    return bool(changed)


def _work(letter: DeadLetter, kind: str = "turn") -> work.Work | None:
    """The work of a letter that is about a turn, or of another kind."""
    if letter.kind != kind:
        return None
    try:
        return envelope.decode(letter.content, letter.subject)
    except msgspec.MsgspecError:
        return None  # of another version
