"""From records to rows: writes snapshots into the tables, each in the order in which it came.

Three tasks, their attempts and some twenty time points are written twice a turn, beside every conversation: by
statements that are built once. What comes seldom goes through the ORM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from django.db import models
from django.utils import timezone

from ... import bounds
from ...records import (
    AnyRecord,
    AttemptRecord,
    BrokenOffRecord,
    BuildRecord,
    CellRecord,
    ItemRecord,
    RecordingRecord,
    SessionRecord,
    StageRecord,
    TurnRecord,
)
from ..ground.statements import Statements
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
    Segment,
    Session,
    Task,
    TimePoint,
    Tombstone,
    Turn,
)
from .signals import broken_off, cell_written, turn_lost, turn_written
from .snapshots import ATTEMPT, ITEM, SESSION, STAGE, TURN, moment

if TYPE_CHECKING:
    from ..ground.caller import Caller

Row = TypeVar("Row", bound=Recorded)

_sessions, _turns, _recordings, _items = Statements(Session), Statements(Turn), Statements(Recording), Statements(Item)
_tasks, _attempts = Statements(Task), Statements(Attempt)
_segments, _time_points = Statements(Segment), Statements(TimePoint)
_tombstones = Statements(Tombstone)


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
            case RecordingRecord():
                _write_recording(record, sessions.of(record) if record.session_id else None)
            case ItemRecord():
                _write_item(record, sessions.of(record))
            case BuildRecord():
                _write_build(record)
            case BrokenOffRecord():
                _write_broken_off(record)
            case CellRecord():
                cell_written.send(CellRecord, record=record)


class _Sessions:
    """Those that the records of a batch belong to, each looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, Session] = {}

    def of(self, record: TurnRecord | RecordingRecord | ItemRecord) -> Session:
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
_NAMED = (("session", "session_id"), ("turn", "turn_id"), ("turn", "reruns"), ("recording", "recording_id"))


def _names(record: AnyRecord) -> set[_Named]:
    """What a record is about: project, kind and id."""
    if isinstance(record, CellRecord):
        return set()  # that it is over has to be known, whatever became of what was said
    found = ((kind, getattr(record, field, "")) for kind, field in _NAMED)
    return {(record.project, kind, key) for kind, key in found if key}


def _erased(records: Sequence[AnyRecord]) -> set[_Named]:
    """Those of what the records are about that were erased."""
    named = set().union(*map(_names, records)) if records else set()
    keys = {each[2] for each in named}
    return named & set(_tombstones.values("project_id", "kind", "key", key=keys))


def was_erased(project_id: str, kind: str, key: str) -> bool:
    return bool(_tombstones.values("id", project_id=project_id, kind=kind, key=key))


def placeholder(project_id: str, session_id: str, caller: Caller | None = None) -> Session:
    """The session with this id, made empty when it is not there yet, by its caller if there is one. Raises
    RecordRefused when it is another project's, another's than those that its caller is limited to, or was erased."""
    if caller and was_erased(project_id, "session", session_id):
        raise RecordRefused(f"session {session_id} was erased")
    session = _sessions.first(id=session_id)
    if session is None:
        own = {"project_id": project_id, "made_by": caller.token_id if caller else ""}
        session, _ = Session.objects.get_or_create(id=session_id, defaults=own)
    _check_owner(session, project_id)
    if caller and session.is_elsewhere(caller):
        raise RecordRefused(f"session {session_id} belongs to another place or device")
    return session


def _write_session(record: SessionRecord) -> None:
    row = _locked(_sessions, record.project, record.session_id)
    if row.version >= record.version:
        return
    _copy(record, row, SESSION)
    row.site = row.site or site_of(row.project_id, row.device)
    row.made_by = row.made_by or record.made_by  # it stays whose it was first
    begun = moment(record.started_at)
    whose.is_of(row, record.participant, record.consent, record.context, begun)
    # A host that took it over knows no earlier start than its own.
    row.started_at = min(filter(None, (row.started_at, begun)), default=None)
    row.ended_at = moment(record.ended_at)
    row.tracks = msgspec.to_builtins(record.tracks)
    row.version = record.version
    _sessions.save(row)
    if record.status != "open" and not row.queued:
        _close_turns(row)
    if record.pipeline and record.pipeline_hash and record.spec:
        version_of(record.project, record.pipeline, record.pipeline_hash, record.spec)
    if record.recordings:
        unplaced = {"project_id": record.project, "id": set(record.recordings), "session_id": None}
        _recordings.update({"session_id": row.pk}, **unplaced)
    whose.pass_on(row)


def _write_turn(record: TurnRecord, session: Session) -> None:
    # Nobody else makes one with this id: it needs no savepoint in which somebody may come first.
    row = _turns.first(lock=True, id=record.turn_id) or Turn(id=record.turn_id, project_id=record.project)
    _check_owner(row, record.project)
    if not _supersedes(record, row):
        return
    new = row.version == 0  # no snapshot of it was written yet
    _copy(record, row, TURN)
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
    _turns.save(row)
    _write_stages(row, record.stages)
    own: dict[str, object] = {"project_id": row.project_id, "turn_id": row.pk}
    spoken = [whose.spoken(session, each) for each in record.segments]
    _match(_segments, spoken, own | {"session_id": session.pk}, new)
    _match(_time_points, record.time_points, own, new)
    turn_written.send(Turn, turn=row, record=record)
    if record.outcome == "lost":
        turn_lost.send(Turn, turn=row)
    if session.queued:
        follow_queue(session)


def _match(rows: Statements[Any], wanted: Sequence[msgspec.Struct], own: dict[str, object], new: bool) -> None:
    """Makes a turn's rows those of a snapshot: what is there already stays as it is. A `new` turn has none."""
    names = wanted[0].__struct_fields__ if wanted else ()
    there: dict[tuple[object, ...], list[int]] = {}
    for key, *values in [] if new else rows.values("id", *names, turn_id=own["turn_id"]):
        there.setdefault(tuple(values), []).append(key)
    more = [each for each in wanted if not (same := there.get(msgspec.structs.astuple(each))) or not same.pop()]
    if gone := {key for keys in there.values() for key in keys}:
        rows.delete(id=gone)
    rows.insert(own | msgspec.structs.asdict(each) for each in more)


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
    own = {"session_id": session.pk, "index": session.turns.count(), "recording": record.recording}
    own |= {"pipeline": session.pipeline, "pipeline_hash": session.pipeline_hash, "origin": session.origin}
    turn = _locked(_turns, record.project, record.turn_id, **own)
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
    own: dict[str, object] = {"project_id": turn.project_id}
    of_turn = own | {"turn_id": turn.pk}
    _tasks.insert(
        (
            of_turn | {"task_id": key, "place": place, "usage": _usage(stage)} | _fields(stage, STAGE)
            for key, (place, stage) in given.items()
        ),
        unique=("turn_id", "task_id"),
        update=("place", "usage", *STAGE),
    )
    keys = dict(_tasks.values("task_id", "id", turn_id=turn.pk))
    attempts = {
        (keys[stage.task_id], attempt.number): attempt for _, stage in given.values() for attempt in stage.attempts
    }
    _attempts.insert(
        (
            own | {"task_id": key, "number": number, "usage": _usage(attempt)} | _fields(attempt, ATTEMPT)
            for (key, number), attempt in attempts.items()
        ),
        unique=("task_id", "number"),
        update=("usage", *ATTEMPT),
    )
    if turn.status not in UNFINISHED and (before := set(keys) - set(given)):
        # What a run that died had done, and the run that finished the turn did again.
        _tasks.update({"status": Progress.SUPERSEDED}, turn_id=turn.pk, task_id=before)


def _write_recording(record: RecordingRecord, session: Session | None) -> None:
    row = _locked(_recordings, record.project, record.recording_id)
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
    _recordings.save(row)
    if row.session:
        whose.pass_on(row.session)


def _write_item(record: ItemRecord, session: Session) -> None:
    row = _items.first(lock=True, session_id=session.pk, item_id=record.item_id) or Item(
        session=session, item_id=record.item_id, project_id=record.project
    )
    if not row._state.adding and row.version >= record.version:
        return
    _copy(record, row, ITEM)
    row.pictures = msgspec.to_builtins(record.pictures)
    _items.save(row)


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


def _locked(rows: Statements[Row], project_id: str, key: str, **fields: object) -> Row:
    row = rows.locked(key, project_id=project_id, **fields)
    _check_owner(row, project_id)
    return row


def _check_owner(row: Recorded, project_id: str) -> None:
    if row.project_id != project_id:
        raise RecordRefused(f"{type(row).__name__.lower()} {row.pk} belongs to another project")


def _copy(record: msgspec.Struct, row: models.Model, names: Iterable[str]) -> None:
    for name in names:
        setattr(row, name, getattr(record, name))


def _fields(record: msgspec.Struct, names: Iterable[str]) -> dict[str, object]:
    return {name: getattr(record, name) for name in names}
