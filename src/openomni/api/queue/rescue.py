"""What was being said when its agent or its gateway was gone becomes a turn, from the recording.

Such an utterance waits here until its session is over and its recording complete, for until then somebody may still
answer it live. It keeps its turn's id whoever answers it, so it is one turn; what another turn covers is not run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from ...bus.connection import Bus
from ...bus.work import TurnWork, Work
from ...events import AXIS_RATE
from ...pipeline import spec
from ...records import BrokenOffRecord
from ..records.models import Progress, Recording, Segment, Session, Turn
from .models import QueuedWork

log = logging.getLogger("openomni.api")

EVERY = 2.0
"""Seconds between looks for what may be run by now."""
QUIET_SECONDS = 30.0
"""How long a session must be over before what is unanswered in it is run: longer than a gateway waits for a client that
may come back, and for what the old host still says."""
LOST = "lost"
SAME = AXIS_RATE // 5
"""Samples that two utterances must have in common to be one."""
Run = Callable[[Callable[[], Any]], Awaitable[Any]]


async def watch(bus: Bus, run: Run) -> None:
    """Looks for ever. The outbox hands over what is found."""
    while True:
        await run(release_due)
        await asyncio.sleep(EVERY)


# ---- what is told ----


def was_broken_off(record: BrokenOffRecord, session: Session, **_: Any) -> None:
    """Of what nobody gave an answer to."""
    turn = Turn.objects.filter(pk=record.turn_id, session=session).first()
    if record.recording and (turn is None or _is_open(turn)):
        _expect(session, record.turn_id, record.recording, record.start, record.heard_to, record.end)


def turn_is_lost(turn: Turn, **_: Any) -> None:
    """A turn whose agent was gone before it gave an answer."""
    said = turn.segments.order_by("start").first()
    if turn.recording and said is not None and not turn.session.queued:
        _expect(turn.session, turn.pk, turn.recording, said.start, said.end, None)


def is_awaited(row: QueuedWork) -> bool:
    """Whether it waits for the end of its session, or for its recording."""
    body = row.work["body"]
    return bool(row.waits and body.get("rescued") and body.get("segment"))


def _expect(session: Session, turn_id: str, recording: str, start: int, heard_to: int, end: int | None) -> None:
    """Positions are samples on the session's axis, as seconds until where the recording lies on it is known."""
    row = QueuedWork.objects.filter(pk=turn_id).first()
    if row is not None and not is_awaited(row):
        return
    known = TurnWork.of(msgspec.convert(row.work, Work)) if row is not None else None
    until = -1.0 if end is None else end / AXIS_RATE
    if known is not None:
        # Told by the host and by the gateway: the longer stretch is that which nobody answered.
        start, heard_to = min(start, round(known.start * AXIS_RATE)), max(heard_to, round(known.heard_to * AXIS_RATE))
        until = max(until, known.end) if end is not None else known.end
    body = TurnWork(
        turn_id=turn_id, session_id=session.pk, pipeline=session.pipeline, recording=recording, segment=True,
        start=start / AXIS_RATE, heard_to=heard_to / AXIS_RATE, end=until, rescued=True,
    )  # fmt: skip
    QueuedWork.objects.update_or_create(
        pk=turn_id,
        defaults={
            "project_id": session.project_id,
            "session": session,
            "waits": True,
            "work": msgspec.to_builtins(body.work(session.project_id, session.pipeline_hash)),
        },
    )


# ---- what may be run ----


def release_due() -> None:
    """Lets go what nobody will answer live any more."""
    quiet = timezone.now() - timedelta(seconds=QUIET_SECONDS)
    waiting = QueuedWork.objects.filter(waits=True, work__body__rescued=True, session__ended_at__lte=quiet)
    for row in waiting.exclude(session__status=Session.Status.OPEN).select_related("session"):
        if is_awaited(row):
            with transaction.atomic():
                _release(row)


def _release(row: QueuedWork) -> None:
    session, body = row.session, TurnWork.of(msgspec.convert(row.work, Work))
    assert session is not None
    recording = Recording.objects.filter(pk=body.recording, project_id=row.project_id).first()
    if recording is None or recording.status != Recording.Status.COMPLETE or not session.spec:
        return
    turn = Turn.objects.filter(pk=row.pk).first()
    start, heard_to = round(body.start * AXIS_RATE), round(body.heard_to * AXIS_RATE)
    by = covering(session, row.pk, start, heard_to) if heard_to > start else ""
    if by or (turn is not None and not _is_open(turn)):
        row.delete()
        if turn is not None and _is_open(turn):
            supersede(turn, by)
        return
    following = Segment.objects.filter(session=session, start__gt=max(start, heard_to)).exclude(turn_id=row.pk)
    ends = [each for each in (round(body.end * AXIS_RATE), _first(following)) if each > 0]
    index = turn.index if turn is not None else session.turns.count()
    if turn is not None:
        Turn.objects.filter(pk=turn.pk).update(status=Progress.PENDING, version=1, reason="", outcome="")
    in_file = partial(_seconds, recording.position)
    body = msgspec.structs.replace(
        body,
        pipeline=session.pipeline, index=index, position=recording.position, after=_before(session, start),
        start=in_file(start), heard_to=in_file(heard_to), end=in_file(min(ends)) if ends else -1.0,
        options={"origin": session.origin, "participant": session.participant},
    )  # fmt: skip
    needs = [f"{kind}:{name}" for kind, name in spec.parse(session.spec, session.pipeline).needs]
    row.work = msgspec.to_builtins(body.work(row.project_id, session.pipeline_hash, needs=needs))
    row.place, row.waits = index, False
    row.save()
    log.info("turn %s of session %s is run from the recording: nobody answered it", row.pk, session.pk)


def covering(session: Session, turn_id: str, start: int, end: int) -> str:
    """The other turn of the session in which what is said there was heard; empty for none."""
    others = Segment.objects.filter(session=session, start__lt=end - SAME, end__gt=start + SAME).exclude(
        turn_id=turn_id
    )
    others = others.exclude(turn__outcome=LOST).exclude(turn__status=Progress.SUPERSEDED)
    return others.values_list("turn_id", flat=True).first() or ""


def supersede(turn: Turn, by: str) -> None:
    """It was answered as another turn."""
    Turn.objects.filter(pk=turn.pk).update(
        status=Progress.SUPERSEDED, outcome="", reason=f"its agent was lost; turn {by} answers it"
    )


def _is_open(turn: Turn) -> bool:
    return turn.status in (Progress.PENDING, Progress.STARTED) or turn.outcome == LOST


def _before(session: Session, start: int) -> str:
    """The turn that was said last before that sample."""
    before = Segment.objects.filter(session=session, start__lt=start).order_by("-start")
    return before.values_list("turn_id", flat=True).first() or ""


def _first(segments: Any) -> int:
    return segments.order_by("start").values_list("start", flat=True).first() or 0


def _seconds(position: int, sample: int) -> float:
    return max(sample - position, 0) / AXIS_RATE
