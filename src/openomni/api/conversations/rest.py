"""Sessions, turns and tasks over HTTP, in the shapes of `openomni.records`."""

from __future__ import annotations

import math
import uuid
from typing import Annotated, Any, BinaryIO, Literal, cast

import msgspec
from django.core.cache import cache
from django.db import transaction
from django.http import HttpResponse, HttpResponseBase
from ninja import Field, Path, Query, Router, Schema, Status
from pydantic import AfterValidator

from ...events import AXIS_RATE
from ...records import SessionRecord, StageRecord, TurnRecord
from ..accounts.models import Scope
from ..auth import AuthedRequest, allow
from ..errors import Refusal, conflict, not_found
from ..media.models import Recording
from ..media.ranges import deliver
from ..paging import Page, Paging, page
from ..pipelines import catalogue
from ..places.models import site_of
from . import dead_letters, queueing, snapshots, two_tracks
from .contract import schema
from .heard import Tracks, heard
from .models import Session, Task, Turn

router = Router(tags=["conversations"])
READERS = allow(Scope.DEVICE, Scope.AGENT, Scope.VIEWER)
MAKERS = allow(Scope.DEVICE, Scope.AGENT, Scope.RESEARCHER)
PEAKS_KEPT = 3600
"""Seconds that a picture of a session's sound is remembered."""

SessionOut = schema(SessionRecord)
TurnOut = schema(TurnRecord)
TaskOut = schema(StageRecord, "Task", turn_id=str, session_id=str)
NewId = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]


def _span(span: queueing.Span) -> queueing.Span:
    start, end = span
    if not (0 <= start < math.inf and (end < 0 or start < end)):
        raise ValueError(f"{start:g} to {end:g} s is no span; it takes 0 ≤ start < end, or an end below 0 for the rest")
    return span


class SessionNew(Schema):
    """A session to come; its id is made by whoever opens it. `started_at` is Unix time."""

    session_id: NewId
    pipeline: str
    source: str = Field("", max_length=2000)
    site: str = Field("", max_length=40)
    device: str = Field("", max_length=40)
    recording: str = Field("", max_length=64)
    started_at: float = Field(0.0, ge=0)


class Peaks(Schema):
    """The greatest amplitude, 0…1, of both tracks in as many equal stretches. `waiting`: recordings that are not
    complete."""

    seconds: float
    left: list[float]
    right: list[float]
    waiting: int


class TurnFilter(Schema):
    session: str = ""
    pipeline: str = Field("", description="name or hash")
    status: str = ""


class TaskFilter(Schema):
    turn: str = ""
    kind: str = ""
    component: str = ""
    agent: str = ""
    status: str = ""


class QueueNew(Schema):
    """Turns to run on a recording: one a span in seconds, an end below 0 meaning the recording's; without spans the
    speech in it is found first. `wait`: queue even when no live agent offers what the pipeline needs."""

    recording_id: NewId
    pipeline: str
    session_id: NewId = Field(default_factory=lambda: uuid.uuid4().hex)
    spans: list[Annotated[queueing.Span, AfterValidator(_span)]] | None = Field(None, min_length=1, max_length=500)
    wait: bool = False
    options: dict[str, Any] = {}


class QueuedTurn(Schema):
    turn_id: str = Field(alias="pk")
    index: int
    status: str


class Queued(Schema):
    session_id: str
    turns: list[QueuedTurn]


class DeadOut(Schema):
    """Work or a record that failed too often: what it was, why, and when (Unix time)."""

    sequence: int
    kind: str
    key: str
    reason: str
    attempts: int
    at: float
    content: Any


class Retried(Schema):
    status: Literal["queued"] = "queued"


@router.get("/sessions", auth=READERS, response=Page[SessionOut], summary="Sessions, newest first")  # type: ignore[valid-type]
def list_sessions(
    request: AuthedRequest, paging: Query[Paging], pipeline: str = "", device: str = "", status: str = ""
) -> Any:
    wanted = {"pipeline": pipeline, "device": device, "status": status}
    rows = Session.objects.scoped(request).filter(**_given(wanted))
    return _as_records(page(rows, paging), snapshots.session_record)


@router.post("/sessions", auth=MAKERS, response=SessionOut, summary="Announce a session")
def create_session(request: AuthedRequest, payload: SessionNew) -> Any:
    """Announcing it again changes nothing."""
    caller = request.auth
    pipeline = catalogue.find(caller.project_id, payload.pipeline).pipeline
    with transaction.atomic():
        try:
            session = snapshots.placeholder(caller.project_id, payload.session_id, caller)
        except snapshots.Refused:
            conflict(f"the session id {payload.session_id} is taken; make a new one")
        if not session.pipeline:
            session.pipeline, session.pipeline_hash, session.spec = pipeline.name, pipeline.hash, pipeline.normalised()
            session.device = caller.device or payload.device
            session.site = caller.site or payload.site or site_of(caller.project_id, session.device)
            session.source, session.started_at = payload.source, snapshots.moment(payload.started_at)
            session.recordings = [payload.recording] if payload.recording else []
            session.save()
    return msgspec.to_builtins(snapshots.session_record(session))


@router.get("/sessions/{session_id}", auth=READERS, response=SessionOut, summary="One session")
def get_session(request: AuthedRequest, session_id: str) -> Any:
    session = Session.objects.scoped(request).filter(pk=session_id).first() or not_found("session", session_id)
    return msgspec.to_builtins(snapshots.session_record(session))


@router.api_operation(
    ["GET", "HEAD"], "/sessions/{session_id}/recording", auth=allow(Scope.VIEWER), summary="A session as it sounded"
)
def session_recording(request: AuthedRequest, session_id: str) -> HttpResponseBase:
    """A stereo WAV at 16 kHz, whole or a range: the person on the left, the replies on the right, each where and as far
    as it was heard. Of a session that is still open, or whose recordings are still on their way, what is here so far;
    `OpenOmni-Waiting` says how many of them are not complete. 404 where nothing that sounds has come."""
    session, tracks = _heard(request, session_id)
    if not tracks.samples:
        why = f"{tracks.waiting} recordings are on their way" if tracks.waiting else "nothing of it was recorded"
        raise Refusal(404, f"there is no sound of session {session_id}: {why}", waiting=tracks.waiting)
    file = cast(BinaryIO, two_tracks.TwoTracks(tracks))
    response = deliver(request, file, "audio/wav", f"{session.pk}.wav", tracks.etag)
    response["OpenOmni-Waiting"] = str(tracks.waiting)
    return response


@router.get(
    "/sessions/{session_id}/recording/peaks", auth=allow(Scope.VIEWER),
    response={200: Peaks, 304: None}, summary="A picture of a session's sound",
)  # fmt: skip
def session_peaks(
    request: AuthedRequest, response: HttpResponse, session_id: str, points: Annotated[int, Query(ge=1, le=4000)] = 800
) -> Any:
    """Made once for each state of the recordings; a client that has it already is told so (ETag)."""
    _, tracks = _heard(request, session_id)
    etag = f'"{tracks.etag}-{points}"'
    response["ETag"], response["Cache-Control"] = etag, "private, no-cache"
    if request.headers.get("If-None-Match") == etag:
        return Status(304, None)
    made = cache.get(etag)
    if made is None:
        made = two_tracks.peaks(tracks, points)
        cache.set(etag, made, PEAKS_KEPT)
    left, right = made
    return {"seconds": tracks.samples / AXIS_RATE, "left": left, "right": right, "waiting": tracks.waiting}


def _heard(request: AuthedRequest, session_id: str) -> tuple[Session, Tracks]:
    session = Session.objects.scoped(request).filter(pk=session_id).first() or not_found("session", session_id)
    return session, heard(session)


@router.get("/turns", auth=READERS, response=Page[TurnOut], summary="Turns, newest first")  # type: ignore[valid-type]
def list_turns(request: AuthedRequest, paging: Query[Paging], wanted: Query[TurnFilter]) -> Any:
    rows = Turn.objects.scoped(request).filter(**_given({"session_id": wanted.session, "status": wanted.status}))
    if wanted.pipeline:
        rows = rows.filter(pipeline=wanted.pipeline) | rows.filter(pipeline_hash=wanted.pipeline)
    return _as_records(page(rows.prefetch_related(*snapshots.COMPLETE_TURN), paging), snapshots.turn_record)


@router.post("/turns/queue", auth=MAKERS, response={202: Queued}, summary="Run turns on a recording")
def queue_turns(request: AuthedRequest, payload: QueueNew) -> Any:
    """They are there with the status `pending` at once; the same request again adds nothing."""
    caller = request.auth
    recording = Recording.objects.scoped(request).filter(pk=payload.recording_id).first()
    if recording is None:
        not_found("recording", payload.recording_id)
    pipeline = catalogue.find(caller.project_id, payload.pipeline).pipeline
    options = payload.options
    turns = queueing.queue(recording, pipeline, payload.session_id, payload.spans, payload.wait, options, caller)
    return 202, {"session_id": payload.session_id, "turns": turns}


@router.get("/turns/{turn_id}", auth=READERS, response=TurnOut, summary="One turn")
def get_turn(request: AuthedRequest, turn_id: str) -> Any:
    rows = Turn.objects.scoped(request).prefetch_related(*snapshots.COMPLETE_TURN)
    turn = rows.filter(pk=turn_id).first() or not_found("turn", turn_id)
    return msgspec.to_builtins(snapshots.turn_record(turn))


@router.get("/tasks", auth=READERS, response=Page[TaskOut], summary="Tasks, newest first")  # type: ignore[valid-type]
def list_tasks(request: AuthedRequest, paging: Query[Paging], wanted: Query[TaskFilter]) -> Any:
    rows = Task.objects.scoped(request).filter(**_given({**wanted.dict(exclude={"turn"}), "turn_id": wanted.turn}))
    found = page(rows.select_related("turn").prefetch_related("attempts"), paging, "-pk")
    return {**found, "items": [_task(task) for task in found["items"]]}


@router.get("/tasks/dead", auth=allow(Scope.VIEWER), response=Page[DeadOut], summary="What failed too often")
def list_dead(
    request: AuthedRequest,
    cursor: Annotated[str, Query(pattern=r"^\d{0,18}$")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Any:
    """Oldest first."""
    letters = dead_letters.of_project(request, int(cursor or 0), limit)
    return {"items": letters, "next": str(letters[-1]["sequence"]) if len(letters) == limit else None}


@router.post("/tasks/dead/{sequence}/retry", auth=MAKERS, response={202: Retried}, summary="Try dead work again")
def retry_dead(request: AuthedRequest, sequence: Annotated[int, Path(ge=1)]) -> Any:
    """A turn goes back into the queue, with all its attempts anew."""
    dead_letters.retry(request, sequence)
    return 202, {}


def _given(wanted: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in wanted.items() if value}


def _as_records(found: dict[str, Any], record: Any) -> dict[str, Any]:
    return {**found, "items": [msgspec.to_builtins(record(row)) for row in found["items"]]}


def _task(task: Task) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(snapshots.stage_record(task))
    return {**plain, "turn_id": task.turn_id, "session_id": task.turn.session_id}
