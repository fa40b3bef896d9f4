"""What rows and their records have in common, and the way back: a row as the JSON of its contract."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from ... import bounds
from ...records import (
    AskedRecord,
    AttemptRecord,
    DismissedRecord,
    FrameRecord,
    ItemRecord,
    PauseRecord,
    PlacedRecording,
    SegmentRecord,
    SessionRecord,
    StageRecord,
    TimePointRecord,
    TurnRecord,
    UsageRecord,
    UtteranceRecord,
)
from ...trace import Part
from .models import Attempt, Item, Session, Task, Turn

TIMES = ("queue_s", "lost_s", "transfer_s", "load_s", "model_s", "ttfb_s", "started_s", "ended_s")
"""The figures of a stage, seconds or None, named alike in its row and its record."""
IDENTITY = ("build", "seed")
STAGE = ("kind", "component", "revision", "agent", "status", "reason", *TIMES, "output", *IDENTITY)
ATTEMPT = ("agent", "status", "reason", "started_s", "ended_s", *IDENTITY)
_SAME = ("pipeline", "pipeline_hash", "status", "reason")
TURN = (
    *_SAME,
    *("index", "transcript", "reply_text", "reply_audio", "recording"),
    *("voice_to_voice_s", "heard_at", "residue_s", "interrupted"),
    *("utterance_hash", "reruns", "origin", "live", "warm", "cell", "participant", "language", "outcome"),
    *("overlap_s", "yield_s", "items", "given"),
)
SESSION = (
    *_SAME,
    *("spec", "site", "device", "source", "recordings"),
    *("origin", "turn_taking"),
)
WHOSE = ("participant", "consent", "context")
"""Of a session; what is known of it first stays."""
SEGMENT = ("speaker", "start", "end", "track", "participant", "confidence", "source", "consent")
ITEM = (
    *("version", "position", "role", "content", "turn_id", "recording", "start", "end", "tool_calls", "call_id"),
    "gone",
)


def moment(unix: float | None) -> datetime | None:
    """A Unix time as a date; None for none (0 too: nobody recorded before 1970), and for what is out of bounds."""
    known = unix and bounds.finite(unix, bounds.MIN_MOMENT, bounds.MAX_MOMENT)
    return datetime.fromtimestamp(unix, UTC) if unix and known else None


COMPLETE_TURN = ("segments", "time_points", "tasks__attempts")
"""What to prefetch before many turns are read as records."""


def turn_record(turn: Turn) -> TurnRecord:
    return TurnRecord(
        project=turn.project_id,
        version=turn.version,
        turn_id=turn.pk,
        session_id=turn.session_id,
        **{name: getattr(turn, name) for name in TURN},
        segments=[SegmentRecord(**{name: getattr(each, name) for name in SEGMENT}) for each in turn.segments.all()],
        frames=msgspec.convert(turn.frames, list[FrameRecord]),
        pauses=msgspec.convert(turn.pauses, list[PauseRecord]),
        dismissed=msgspec.convert(turn.dismissed, list[DismissedRecord]),
        utterance=msgspec.convert(turn.utterance, UtteranceRecord | None),
        asked=msgspec.convert(turn.asked, AskedRecord | None),
        stages=[stage_record(task) for task in turn.tasks.all()],
        time_points=[
            TimePointRecord(each.name, each.at_s, each.where, each.uncertainty_s) for each in turn.time_points.all()
        ],
        parts=msgspec.convert(turn.parts, list[Part]),
        started_at=unix(turn.started_at),
    )


def stage_record(task: Task) -> StageRecord:
    attempts = [
        AttemptRecord(number=each.number, usage=_usage_record(each), **{name: getattr(each, name) for name in ATTEMPT})
        for each in task.attempts.all()
    ]
    given = {name: getattr(task, name) for name in STAGE}
    return StageRecord(task_id=task.task_id, usage=_usage_record(task), attempts=attempts, **given)


def _usage_record(row: Task | Attempt) -> UsageRecord | None:
    return None if row.usage is None else msgspec.convert(row.usage, UsageRecord)


def item_record(item: Item) -> ItemRecord:
    return ItemRecord(
        project=item.project_id,
        session_id=item.session_id,
        item_id=item.item_id,
        pictures=msgspec.convert(item.pictures, list[FrameRecord]),
        **{name: getattr(item, name) for name in ITEM},
    )


def session_record(session: Session) -> SessionRecord:
    return SessionRecord(
        project=session.project_id,
        version=session.version,
        session_id=session.pk,
        **{name: getattr(session, name) for name in (*SESSION, *WHOSE)},
        made_by=session.made_by,
        tracks=msgspec.convert(session.tracks, list[PlacedRecording]),
        started_at=unix(session.started_at),
        ended_at=unix(session.ended_at) or None,
    )


def unix(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
