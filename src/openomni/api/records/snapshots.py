"""Between records and rows: writes a snapshot into the tables, and reads a turn back as the JSON of its contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from django.db import models
from django.utils import timezone

from ... import bounds
from ...records import (
    AnyRecord,
    AskedRecord,
    AttemptRecord,
    BrokenOffRecord,
    BuildRecord,
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
from ...records import RecordingRecord as RecordingSnapshot
from ...trace import Part
from ..pipelines.models import version_of
from ..places.models import site_of
from . import whose
from .models import (
    UNFINISHED,
    Attempt,
    Build,
    Item,
    Progress,
    Recorded,
    Recording,
    Session,
    Task,
    Tombstone,
    Turn,
)
from .signals import broken_off, turn_lost, turn_written

if TYPE_CHECKING:
    from ..ground.caller import Caller

Row = TypeVar("Row", bound=Recorded)

TIMES = ("queue_s", "lost_s", "transfer_s", "load_s", "model_s", "ttfb_s", "started_s", "ended_s")
"""The figures of a stage, seconds or None, named alike in its row and its record."""
_IDENTITY = ("build", "seed")
_STAGE = ("kind", "component", "revision", "agent", "status", "reason", *TIMES, "output", *_IDENTITY)
_ATTEMPT = ("agent", "status", "reason", "started_s", "ended_s", *_IDENTITY)
_SAME = ("pipeline", "pipeline_hash", "status", "reason")
_TURN = (
    *_SAME,
    *("index", "transcript", "reply_text", "reply_audio", "recording"),
    *("voice_to_voice_s", "heard_at", "residue_s", "interrupted"),
    *("utterance_hash", "reruns", "origin", "live", "warm", "cell", "participant", "language", "outcome"),
    *("overlap_s", "yield_s", "items", "given"),
)
_SESSION = (
    *_SAME,
    *("spec", "site", "device", "source", "recordings"),
    *("origin", "turn_taking"),
)
_WHOSE = ("participant", "consent", "context")
"""Of a session; what is known of it first stays."""
_SEGMENT = ("speaker", "start", "end", "track", "participant", "confidence", "source", "consent")
_ITEM = (
    *("version", "position", "role", "content", "turn_id", "recording", "start", "end", "tool_calls", "call_id"),
    "gone",
)


class RecordRefused(ValueError):
    """A record that must not be written; the message says why."""


def write_all(records: Sequence[AnyRecord]) -> None:
    """Upserts records, in their order; one that is not newer than what is there changes nothing, nor does one of what
    was erased. Raises RecordRefused."""
    erased, sessions = _erased(records), _Sessions()
    for record in records:
        if not erased.isdisjoint(_names(record)):
            continue
        match record:
            case SessionRecord():
                _write_session(record)
                sessions.forget(record.session_id)
            case TurnRecord():
                _write_turn(record, sessions.of(record))
            case RecordingSnapshot():
                _write_recording(record, sessions.of(record) if record.session_id else None)
            case ItemRecord():
                _write_item(record, sessions.of(record))
            case BuildRecord():
                _write_build(record)
            case BrokenOffRecord():
                _write_broken_off(record)


class _Sessions:
    """Those that the records of a batch belong to, each looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, Session] = {}

    def of(self, record: TurnRecord | RecordingSnapshot | ItemRecord) -> Session:
        """Raises RecordRefused when it is another project's."""
        session = self._known.get(record.session_id)
        if session is None:
            session = self._known[record.session_id] = placeholder(record.project, record.session_id)
        _check_owner(session, record.project)
        return session

    def forget(self, session_id: str) -> None:
        """It was changed."""
        self._known.pop(session_id, None)


_Named = tuple[str, str, str]
_NAMED = {"session": "session_id", "turn": "turn_id", "recording": "recording_id"}


def _names(record: AnyRecord) -> set[_Named]:
    """What a record is about: project, kind and id."""
    found = ((kind, getattr(record, field, "")) for kind, field in _NAMED.items())
    return {(record.project, kind, key) for kind, key in found if key}


def _erased(records: Sequence[AnyRecord]) -> set[_Named]:
    """Those of what the records are about that were erased."""
    named = set().union(*map(_names, records)) if records else set()
    rows = Tombstone.objects.filter(project_id__in={each[0] for each in named}, key__in={each[2] for each in named})
    return named & set(rows.values_list("project_id", "kind", "key"))


def placeholder(project_id: str, session_id: str, caller: Caller | None = None) -> Session:
    """The session with this id, made empty when it is not there yet, by its caller if there is one. Raises Refused when
    it is another project's, or another's than those that its caller is limited to."""
    own = {"project_id": project_id, "made_by": caller.token_id if caller else ""}
    session, _ = Session.objects.get_or_create(id=session_id, defaults=own)
    _check_owner(session, project_id)
    if caller and session.is_elsewhere(caller):
        raise RecordRefused(f"session {session_id} belongs to another place or device")
    return session


def _write_session(record: SessionRecord) -> None:
    row = _locked(Session, record.project, record.session_id)
    if row.version >= record.version:
        return
    _copy(record, row, _SESSION)
    row.site = row.site or site_of(row.project_id, row.device)
    row.made_by = row.made_by or record.made_by  # it stays whose it was first
    begun = moment(record.started_at)
    whose.is_of(row, record.participant, record.consent, record.context, begun)
    # A host that took it over knows no earlier start than its own.
    row.started_at = min(filter(None, (row.started_at, begun)), default=None)
    row.ended_at = moment(record.ended_at)
    row.tracks = msgspec.to_builtins(record.tracks)
    row.version = record.version
    row.save()
    if record.status != "open" and not row.queued:
        _close_turns(row)
    if record.pipeline and record.pipeline_hash and record.spec:
        version_of(record.project, record.pipeline, record.pipeline_hash, record.spec)
    Recording.objects.filter(project_id=record.project, pk__in=record.recordings, session=None).update(session=row)
    whose.pass_on(row)


def _write_turn(record: TurnRecord, session: Session) -> None:
    # Nobody else makes one with this id: it needs no savepoint in which somebody may come first.
    there = Turn.objects.select_for_update().filter(pk=record.turn_id)
    row = next(iter(there), None) or Turn(id=record.turn_id, project_id=record.project)
    _check_owner(row, record.project)
    if not _supersedes(record, row):
        return
    new = row.version == 0  # no snapshot of it was written yet
    _copy(record, row, _TURN)
    row.session = session
    row.participant = session.participant or record.participant
    row.started_at = moment(record.started_at) or row.started_at
    row.parts = msgspec.to_builtins(record.parts)
    row.pauses = msgspec.to_builtins(record.pauses)
    row.frames = msgspec.to_builtins(record.frames)
    row.dismissed = msgspec.to_builtins(record.dismissed)
    row.utterance = msgspec.to_builtins(record.utterance)
    row.asked = msgspec.to_builtins(record.asked)
    row.version = record.version
    row.save(force_insert=row._state.adding)
    _write_stages(row, record.stages)
    spoken = [whose.spoken(session, each) for each in record.segments]
    segments, points = (rows.none() if new else rows for rows in (row.segments.all(), row.time_points.all()))
    _match(segments, spoken, {"project_id": row.project_id, "turn": row, "session": session})
    _match(points, record.time_points, {"project_id": row.project_id, "turn": row})
    turn_written.send(Turn, turn=row, record=record)
    if record.outcome == "lost":
        turn_lost.send(Turn, turn=row)
    if session.queued:
        follow_queue(session)


def _match(rows: models.QuerySet[Any], wanted: Sequence[msgspec.Struct], own: dict[str, object]) -> None:
    """Makes `rows` those of a snapshot: what is there already stays as it is."""
    names = wanted[0].__struct_fields__ if wanted else ("id",)
    there: dict[tuple[object, ...], list[int]] = {}
    for key, *values in rows.values_list("pk", *names):
        there.setdefault(tuple(values), []).append(key)
    new = [each for each in wanted if not (same := there.get(msgspec.structs.astuple(each))) or not same.pop()]
    if gone := [key for keys in there.values() for key in keys]:
        rows.filter(pk__in=gone).delete()
    rows.model._default_manager.bulk_create(rows.model(**own, **msgspec.structs.asdict(each)) for each in new)


def _close_turns(session: Session) -> None:
    """Nobody is left to end the turns of a session that is over: their host died with them. What waits to be run from
    the recording waits on."""
    for turn in session.turns.filter(status=Progress.STARTED):
        _fail(turn, outcome="lost", reason="the agent that hosted it was lost")
        turn_lost.send(Turn, turn=turn)


def _fail(turn: Turn, reason: str, **fields: Any) -> None:
    """Whoever ran it is gone."""
    for rows in (
        Attempt.objects.filter(task__turn=turn, status__in=UNFINISHED),
        Task.objects.filter(turn=turn, status__in=UNFINISHED),
    ):
        rows.update(status=Progress.FAILED, reason=reason)
    Turn.objects.filter(pk=turn.pk).update(status=Progress.FAILED, reason=reason, **fields)


def _write_broken_off(record: BrokenOffRecord) -> None:
    session = placeholder(record.project, record.session_id)
    if not record.given:
        broken_off.send(Session, record=record, session=session)
        return
    own = {"session": session, "index": session.turns.count(), "recording": record.recording}
    own |= {"pipeline": session.pipeline, "pipeline_hash": session.pipeline_hash, "origin": session.origin}
    turn = _locked(Turn, record.project, record.turn_id, **own)
    if turn.status not in UNFINISHED and turn.outcome != "lost":
        return  # its host lived to say what became of it
    _fail(turn, record.reason, outcome="interrupted", interrupted=True, version=max(turn.version, 1),
          transcript=record.transcript or turn.transcript, reply_text=record.reply_text or turn.reply_text)  # fmt: skip
    if record.heard_to > record.start and not turn.segments.exists():
        turn.segments.create(project_id=turn.project_id, session=session, speaker="user", start=record.start,
                             end=record.heard_to, track=record.recording, source="vad")  # fmt: skip


def follow_queue(session: Session) -> None:
    """A queued session is open as long as a turn of it is to be run."""
    if session.turns.filter(status__in=UNFINISHED).exists():
        session.status, session.ended_at = Session.Status.OPEN, None
    else:
        session.status, session.ended_at = Session.Status.CLOSED, timezone.now()
    session.save(update_fields=["status", "ended_at"])


def _supersedes(record: TurnRecord, row: Turn) -> bool:
    """Whether the record is news. A turn that another agent runs again counts its versions from 1 again, so how far
    the turn came is looked at first: an end beats what is under way, a good end a failure."""
    if row.version == 0:
        return True
    if row.status == Progress.PENDING and record.outcome == "lost":
        return False  # it was told before, and is to be run from the recording
    come, been = _rank(record.status), _rank(row.status)
    return (come, record.version) > (been, row.version)


def _rank(status: str) -> int:
    return 0 if status in UNFINISHED else 1 if status == Progress.FAILED else 2


def _write_stages(turn: Turn, stages: Iterable[StageRecord]) -> None:
    given = {stage.task_id: (place, stage) for place, stage in enumerate(stages)}
    own = {"project_id": turn.project_id}
    tasks = Task.objects.bulk_create(
        [
            Task(**own, turn=turn, task_id=stage.task_id, place=place, usage=_usage(stage), **_fields(stage, _STAGE))
            for place, stage in given.values()
        ],
        update_conflicts=True,
        unique_fields=["turn", "task_id"],
        update_fields=["place", "usage", *_STAGE],
    )
    keys = {task.task_id: task.pk for task in tasks}
    attempts = {
        (keys[stage.task_id], attempt.number): attempt for _, stage in given.values() for attempt in stage.attempts
    }
    Attempt.objects.bulk_create(
        [
            Attempt(**own, task_id=key, number=number, usage=_usage(attempt), **_fields(attempt, _ATTEMPT))
            for (key, number), attempt in attempts.items()
        ],
        update_conflicts=True,
        unique_fields=["task", "number"],
        update_fields=["usage", *_ATTEMPT],
    )
    if turn.status not in UNFINISHED:
        # What a run that died had done, and the run that finished the turn did again.
        turn.tasks.exclude(task_id__in=given).update(status=Progress.SUPERSEDED)


def _write_recording(record: RecordingSnapshot, session: Session | None) -> None:
    row = _locked(Recording, record.project, record.recording_id)
    if row.version >= record.version:
        return
    if session:
        row.session = session
    row.kind = record.kind
    row.turn_id = record.turn_id or row.turn_id
    row.device = record.device or row.device
    row.rate = record.rate or row.rate
    row.samples = row.samples if record.samples is None else record.samples
    row.position = record.position
    row.started_at = moment(record.started_at) or row.started_at
    row.version = record.version
    row.save()
    if row.session:
        whose.pass_on(row.session)


def _write_item(record: ItemRecord, session: Session) -> None:
    there = Item.objects.select_for_update().filter(session=session, item_id=record.item_id)
    row = next(iter(there), None) or Item(session=session, item_id=record.item_id, project_id=record.project)
    if not row._state.adding and row.version >= record.version:
        return
    _copy(record, row, _ITEM)
    row.pictures = msgspec.to_builtins(record.pictures)
    row.save(force_insert=row._state.adding)


def _write_build(record: BuildRecord) -> None:
    names = ("kind", "component", "package", "package_version")
    content = msgspec.to_builtins(record)
    if not bounds.storable_json(content):
        raise RecordRefused(f"the build {record.build} holds what is no JSON")
    Build.objects.get_or_create(
        project_id=record.project, hash=record.build, defaults={"content": content, **_fields(record, names)}
    )


def _usage(record: StageRecord | AttemptRecord) -> Any:
    return None if record.usage is None else msgspec.to_builtins(record.usage)


def _locked(model: type[Row], project_id: str, key: str, **fields: object) -> Row:
    """The row with this id, ours alone until the transaction ends; made with `fields` when it is not there yet."""
    rows = model._default_manager.select_for_update()
    row, _ = rows.get_or_create(id=key, defaults={"project_id": project_id, **fields})
    _check_owner(row, project_id)
    return cast(Row, row)


def _check_owner(row: Recorded, project_id: str) -> None:
    if row.project_id != project_id:
        raise RecordRefused(f"{type(row).__name__.lower()} {row.pk} belongs to another project")


def _copy(record: msgspec.Struct, row: models.Model, names: Iterable[str]) -> None:
    for name in names:
        setattr(row, name, getattr(record, name))


def _fields(record: msgspec.Struct, names: Iterable[str]) -> dict[str, object]:
    return {name: getattr(record, name) for name in names}


def moment(unix: float | None) -> datetime | None:
    """A Unix time as a date; None for none (0 too: nobody recorded before 1970), and for what is out of bounds."""
    known = unix and bounds.finite(unix, bounds.MIN_MOMENT, bounds.MAX_MOMENT)
    return datetime.fromtimestamp(unix, UTC) if unix and known else None


# ---- and back ------------------------------------------------------------------------------------------------

COMPLETE_TURN = ("segments", "time_points", "tasks__attempts")
"""What to prefetch before many turns are read as records."""


def turn_record(turn: Turn) -> TurnRecord:
    return TurnRecord(
        project=turn.project_id,
        version=turn.version,
        turn_id=turn.pk,
        session_id=turn.session_id,
        **{name: getattr(turn, name) for name in _TURN},
        segments=[SegmentRecord(**{name: getattr(each, name) for name in _SEGMENT}) for each in turn.segments.all()],
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
        AttemptRecord(number=each.number, usage=_usage_record(each), **{name: getattr(each, name) for name in _ATTEMPT})
        for each in task.attempts.all()
    ]
    given = {name: getattr(task, name) for name in _STAGE}
    return StageRecord(task_id=task.task_id, usage=_usage_record(task), attempts=attempts, **given)


def _usage_record(row: Task | Attempt) -> UsageRecord | None:
    return None if row.usage is None else msgspec.convert(row.usage, UsageRecord)


def item_record(item: Item) -> ItemRecord:
    return ItemRecord(
        project=item.project_id,
        session_id=item.session_id,
        item_id=item.item_id,
        pictures=msgspec.convert(item.pictures, list[FrameRecord]),
        **{name: getattr(item, name) for name in _ITEM},
    )


def session_record(session: Session) -> SessionRecord:
    return SessionRecord(
        project=session.project_id,
        version=session.version,
        session_id=session.pk,
        **{name: getattr(session, name) for name in (*_SESSION, *_WHOSE)},
        made_by=session.made_by,
        tracks=msgspec.convert(session.tracks, list[PlacedRecording]),
        started_at=unix(session.started_at),
        ended_at=unix(session.ended_at) or None,
    )


def unix(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
