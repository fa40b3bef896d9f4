"""A session's queued turns follow one another: each is told what was said before, so it is queued when that is known.

All of this happens in the transaction that records the turn before, or what an agent found in a recording.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.db.models import QuerySet

from ...bus.work import TurnWork, Work
from ...events import AXIS_RATE
from ...pipeline import spec
from ...records import TurnRecord
from ..ground.statements import Statements
from ..records.models import UNFINISHED, Progress, Session, Turn
from . import rescue
from .models import QueuedWork
from .wake import released

_queued = Statements(QueuedWork)


def turn_was_written(turn: Turn, record: TurnRecord, **_: Any) -> None:
    """Queues what an agent found, and what follows a turn that is over."""
    if record.outcome == "dismissed" and not record.live:
        QueuedWork.objects.filter(pk=turn.pk).delete()
        turn.delete()  # nothing was said there: it never was one
        return
    if not turn.session.queued and not _queued.values("id", session_id=turn.session_id):
        return
    if turn.status == Progress.PENDING and record.segments:
        _queue_found(turn, record)
    elif turn.status not in UNFINISHED:
        _is_over(turn)
    else:
        return
    release(turn.session)


def turn_is_over(turn: Turn) -> None:
    """The same for one whose end nobody recorded."""
    _is_over(turn)
    release(turn.session)


def _is_over(turn: Turn) -> None:
    if turn.outcome != rescue.LOST:
        QueuedWork.objects.filter(pk=turn.pk).delete()


def pending(session: Session, key: str, index: int, pipeline: spec.Pipeline, **more: Any) -> Turn:
    """The row of a turn to be queued, not yet written; its first version, before any record of it."""
    return Turn(
        id=key, version=1, project_id=session.project_id, session=session, index=index, pipeline=pipeline.name,
        pipeline_hash=pipeline.hash, status=Progress.PENDING, **more,
    )  # fmt: skip


def put(session: Session, works: list[Work], waits: bool = True) -> None:
    """Writes the works of a session's turns. Where each `waits` for those before it, the first is let go."""
    rows = [
        QueuedWork(
            id=each.work_id, project_id=session.project_id, session=session, place=each.body["index"],
            work=msgspec.to_builtins(each), waits=waits,
        )
        for each in works
    ]  # fmt: skip
    QueuedWork.objects.bulk_create(rows, ignore_conflicts=True)
    release(session)


def release(session: Session) -> None:
    """Lets the next turn of a session go, once no turn before it is to be run any more."""
    waiting: QuerySet[QueuedWork] = QueuedWork.objects.filter(session=session, waits=True)
    ordered = waiting.order_by("place", "id").iterator()
    row = next((each for each in ordered if not rescue.is_awaited(each)), None)
    if row is None:
        return
    earlier = Turn.objects.filter(session=session, index__lt=row.place)
    if earlier.filter(status__in=UNFINISHED).exists():
        return
    before = earlier.order_by("-index", "-pk").values_list("pk", flat=True).first()
    row.work["body"]["after"] = row.work["body"].get("after") or before or ""
    row.waits = False
    row.save(update_fields=["work", "waits"])
    released.on_commit()


def _queue_found(turn: Turn, record: TurnRecord) -> None:
    """An utterance that was found in a recording: its segment is what is to be run of it."""
    row = QueuedWork.objects.filter(pk=turn.pk).first()
    if row and not row.work["body"].get("segment"):
        return
    segment, asked = record.segments[0], _asked(turn, row)
    rescued, position = bool(asked.get("rescued")), int(asked.get("position") or 0)
    if rescued and (by := rescue.covering(turn.session, turn.pk, segment.start, segment.end)):
        # The row stays: what else was found asks it what was wanted.
        if turn.started_at:
            rescue.supersede(turn, by)
        else:
            turn.delete()
        return
    body = TurnWork(
        turn_id=turn.pk, session_id=turn.session_id, index=turn.index, pipeline=turn.pipeline, recording=turn.recording,
        start=(segment.start - position) / AXIS_RATE, end=(segment.end - position) / AXIS_RATE, position=position,
        options=dict(asked.get("options", {})), rescued=rescued, after=asked.get("after", "") if rescued else "",
    )  # fmt: skip
    # The first keeps the id of the whole: another attempt, so that the bus takes it.
    attempt = row.work["attempt"] + 1 if row else 1
    QueuedWork.objects.update_or_create(
        pk=turn.pk,
        defaults={
            "project_id": turn.project_id,
            "session": turn.session,
            "place": turn.index,
            "work": msgspec.to_builtins(body.work(turn.project_id, turn.pipeline_hash, attempt=attempt)),
            "waits": True,
            "handed_at": None,
        },
    )


def _asked(turn: Turn, row: QueuedWork | None) -> dict[str, Any]:
    """What was asked for of the recording that it was found in."""
    if row is None:
        same = QueuedWork.objects.filter(session=turn.session_id, work__body__recording=turn.recording)
        row = same.order_by("place").first()
    return dict(row.work["body"]) if row else {}
