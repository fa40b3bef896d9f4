"""A session's queued turns follow one another: each is told what was said before, so it is queued when that is known.

All of this happens in the transaction that records the turn before, or what an agent found in a recording.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.db.models import QuerySet

from ...bus.work import TurnWork, Work
from ...events import AXIS_RATE
from ...records import TurnRecord
from ..records.models import UNFINISHED, Progress, Session, Turn
from .models import QueuedWork


def turn_was_written(turn: Turn, record: TurnRecord, **_: Any) -> None:
    """Queues what an agent found, and what follows a turn that is over."""
    if not turn.session.queued:
        return
    if turn.status == Progress.PENDING and record.segments:
        _queue_found(turn, record)
    elif turn.status not in UNFINISHED:
        QueuedWork.objects.filter(pk=turn.pk).delete()
    else:
        return
    release(turn.session)


def turn_is_over(turn: Turn) -> None:
    """The same for one whose end nobody recorded."""
    QueuedWork.objects.filter(pk=turn.pk).delete()
    release(turn.session)


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
    row = waiting.order_by("place", "id").first()
    if row is None:
        return
    earlier = Turn.objects.filter(session=session, index__lt=row.place)
    if earlier.filter(status__in=UNFINISHED).exists():
        return
    before = earlier.order_by("-index", "-pk").values_list("pk", flat=True).first()
    row.work["body"]["after"] = before or ""
    row.waits = False
    row.save(update_fields=["work", "waits"])


def _queue_found(turn: Turn, record: TurnRecord) -> None:
    """An utterance that was found in a recording: its segment is what is to be run of it."""
    row = QueuedWork.objects.filter(pk=turn.pk).first()
    if row and not row.work["body"].get("segment"):
        return
    segment = record.segments[0]
    body = TurnWork(
        turn_id=turn.pk, session_id=turn.session_id, index=turn.index, pipeline=turn.pipeline, recording=turn.recording,
        start=segment.start / AXIS_RATE, end=segment.end / AXIS_RATE, options=_options(turn, row),
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


def _options(turn: Turn, row: QueuedWork | None) -> dict[str, Any]:
    """What was asked for the recording that it was found in."""
    if row is None:
        same = QueuedWork.objects.filter(session=turn.session_id, work__body__recording=turn.recording)
        row = same.order_by("place").first()
    return dict(row.work["body"].get("options", {})) if row else {}
