"""What failed too often: seen over REST, tried again, and noted on the turns that it was about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from django.db import transaction

from ...bus import dead, work
from ...bus.connection import Bus
from ...bus.dead import DeadLetter
from ..ground import bus_line
from ..ground.caller import AuthedRequest
from ..ground.errors import Refusal, conflict
from ..records import snapshots
from ..records.models import UNFINISHED, Progress, Session, Turn

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
    return [{**msgspec.structs.asdict(letter), "content": _content(letter)} for letter in seen[:limit]]


def _is_of(letter: DeadLetter, request: AuthedRequest) -> bool:
    """Whoever is limited to a site or a device sees the turns of these, and no other letter."""
    if not request.auth.limits:
        return True
    turn = _work(letter)
    return turn is not None and Turn.objects.scoped(request).filter(pk=turn.turn_id).exists()


def retry(request: AuthedRequest, sequence: int) -> None:
    """Queues the turn of a letter again. Raises Refusal: 404 when there is no such letter, 409 when it is no turn."""
    project_id = request.auth.project_id
    found = bus_line.run(lambda bus: dead.dead(bus, project_id, sequence - 1, 1))
    if not found or found[0].sequence != sequence or not _is_of(found[0], request):
        raise Refusal(404, f"there is no dead letter {sequence} in this project; GET /api/v1/tasks/dead lists them")
    turn = _work(found[0])
    if turn is None:
        conflict(f"dead letter {sequence} is no turn that could be queued again: {found[0].reason}")
    bus_line.run(lambda bus: dead.retry(bus, project_id, sequence))
    _set(turn, (Progress.FAILED,), status=Progress.PENDING, reason="")


async def watch(bus: Bus, database: Callable[[Callable[[], bool]], Awaitable[bool]]) -> None:
    """Looks after the turns of all projects' letters, those that lie there and each new one, until it is cancelled.

    A turn is put among the dead by the agent that failed on it, or by another one when those that ran it were killed.
    Then nobody is left to say that it failed, nor to queue what follows it in its session, so that is done here.
    `database` runs a function in a thread with a connection.
    """
    last = 0
    while True:
        while letters := await dead.dead(bus, "*", last):
            for letter in letters:
                turn = _work(letter)
                if turn and await database(partial(_is_left, turn)):
                    if turn.then:
                        # The agent that did it itself used the same key, so this adds nothing then.
                        await work.enqueue(bus, _following(turn))
                    await database(partial(fail, turn, letter.reason))
            last = letters[-1].sequence
        await asyncio.sleep(EVERY)


def fail(turn: work.TurnWork, reason: str) -> bool:
    """Marks a turn as failed unless its end was recorded; whether it was still to be marked."""
    return _set(turn, UNFINISHED, status=Progress.FAILED, reason=reason)


def _is_left(turn: work.TurnWork) -> bool:
    return bool(Turn.objects.filter(pk=turn.turn_id, project_id=turn.project, status__in=UNFINISHED).exists())


def _set(turn: work.TurnWork, been: Iterable[str], **fields: str) -> bool:
    with transaction.atomic():
        rows = Turn.objects.filter(pk=turn.turn_id, project_id=turn.project, status__in=been)
        changed = rows.update(**fields)
        session = Session.objects.filter(pk=turn.session_id, project_id=turn.project, queued=True).first()
        if changed and session:
            snapshots.follow_queue(session)
    return bool(changed)


def _following(turn: work.TurnWork) -> work.TurnWork:
    """The next turn of the session, told what was said before the one that failed."""
    entry = {**msgspec.to_builtins(turn), **turn.then[0], "then": turn.then[1:], "ready_at": time.time()}
    return msgspec.convert(entry, work.TurnWork)


def _work(letter: DeadLetter) -> work.TurnWork | None:
    """The turn of a letter that is one."""
    try:
        return msgspec.json.decode(letter.content, type=work.TurnWork)
    except msgspec.MsgspecError:
        return None  # a record, or a turn of another version


def _content(letter: DeadLetter) -> Any:
    """What failed; of a turn without its pipeline and what would have followed, which are long."""
    content = msgspec.json.decode(letter.content)
    hidden = ("spec", "history", "then")
    return {k: v for k, v in content.items() if k not in hidden} if isinstance(content, dict) else content
