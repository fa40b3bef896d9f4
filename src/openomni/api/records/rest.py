"""Sessions, turns and tasks over HTTP, in the shapes of `openomni.records`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, get_args

import msgspec
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from ninja import Field, Query, Router, Schema

from ...components.kinds import KINDS
from ...records import BuildRecord, ItemRecord, Origin, SessionRecord, StageRecord, TurnRecord
from ...records import Status as Progress
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest, Caller
from ..ground.document import also
from ..ground.errors import Refusal, conflict, not_found
from ..ground.fields import Body, Line, Name, NewId, OneOf, PartMessage, SlugOrNone, UnixTime
from ..ground.paging import Page, Paging, page
from ..pipelines import catalogue
from ..places.models import site_of
from . import snapshots, tag_rest, whose, writing
from .models import Build, Item, Session, Task, Turn
from .reopening import may_open
from .schemas import schema

router = Router(tags=["conversations"])
router.add_router("", tag_rest.router)
READERS = allow(Scope.DEVICE, Scope.AGENT, Scope.VIEWER)
MAKERS = allow(Scope.DEVICE, Scope.AGENT, Scope.RESEARCHER)
MAX_ANNOUNCED = 256
"""Sessions that one token may have announced, and neither opened nor queued, within an hour."""

SessionOut = schema(SessionRecord)
ItemOut = schema(ItemRecord)
BuildOut = schema(BuildRecord)
TurnOut = schema(TurnRecord)
TaskOut = schema(StageRecord, "Task", turn_id=str, session_id=str)


Kind = Annotated[str, OneOf("kind", "", *KINDS)]
Status = Annotated[str, OneOf("status", "", *get_args(Progress))]
Open = Annotated[str, OneOf("status", "", *Session.Status.values)]


class SessionNew(PartMessage):
    """A session to come; its id is made by whoever opens it. `started_at` is Unix time, 0 where it isn't known."""

    session_id: NewId
    pipeline: Name
    source: Line = ""
    site: SlugOrNone = ""
    device: SlugOrNone = ""
    recording: str = Field("", max_length=64)
    origin: Origin = "person"
    participant: Name = Field("", description="code of who is heard")
    consent: Name = Field("", description="what they agreed to, where the project's records don't know them")
    context: Line = Field("", description="a note: the place, the task, who is there")
    started_at: UnixTime = 0.0


class Opening(Schema):
    """An id that the caller may open a session with."""

    session_id: str
    known: bool = Field(description="there is a session of it, which the caller goes on with")


class SessionChangeIn(Body):
    participant: Name | None = None
    context: Line | None = None


class TurnFilter(Schema):
    session: Name = ""
    pipeline: Name = Field("", description="name or hash")
    status: Status = ""
    tag: Name = Field("", description="name of one that they bear themselves")


class TaskFilter(Schema):
    turn: Name = ""
    kind: Kind = ""
    component: Name = ""
    agent: Name = ""
    status: Status = ""


@router.get("/sessions", auth=READERS, response=Page[SessionOut], summary="Sessions, newest first")  # type: ignore[valid-type]
def list_sessions(
    request: AuthedRequest,
    paging: Query[Paging],
    pipeline: Name = "",
    device: Name = "",
    status: Open = "",
    tag: Name = "",
) -> Any:
    wanted = {"pipeline": pipeline, "device": device, "status": status, "tags__tag__name": tag}
    rows = Session.objects.scoped(request).filter(**_given(wanted))
    return _as_records(page(rows, paging), snapshots.session_record)


@router.post("/sessions", auth=MAKERS, response=SessionOut, summary="Announce a session", openapi_extra=also(409, 429))
def create_session(request: AuthedRequest, payload: SessionNew) -> Any:
    """Announcing it again changes nothing. A token has so many that nothing came of within the hour, and no more."""
    caller = request.auth
    _check_bound(caller, payload.session_id)
    pipeline = catalogue.find(caller.project_id, payload.pipeline).pipeline
    with transaction.atomic():
        try:
            session = writing.placeholder(caller.project_id, payload.session_id, caller)
        except writing.RecordRefused:
            conflict(f"the session id {payload.session_id} is taken; make a new one")
        if not session.pipeline:
            session.pipeline, session.pipeline_hash, session.spec = pipeline.name, pipeline.hash, pipeline.normalised()
            session.device = caller.device or payload.device
            session.site = caller.site or payload.site or site_of(caller.project_id, session.device)
            session.source, session.started_at = payload.source, snapshots.moment(payload.started_at)
            session.recordings = [payload.recording] if payload.recording else []
            session.origin = payload.origin
            whose.is_of(session, payload.participant, payload.consent, payload.context, session.started_at)
            session.save()
            whose.pass_on(session)
    return msgspec.to_builtins(snapshots.session_record(session))


@router.patch("/sessions/{session_id}", auth=MAKERS, response=SessionOut, summary="Say who is heard in a session")
def change_session(request: AuthedRequest, session_id: str, payload: SessionChangeIn) -> Any:
    """Its recordings, turns and segments say so too, with what they had agreed to when it began."""
    with transaction.atomic():
        rows = Session.objects.select_for_update(of=("self",)).scoped(request)
        session = rows.filter(pk=session_id).first() or not_found("session", session_id)
        if payload.participant is not None:
            before, session.participant, session.consent = session.participant, "", ""
            whose.is_of(session, payload.participant, "", begun=session.started_at)
            whose.pass_on(session, instead_of=before)
        session.context = session.context if payload.context is None else payload.context
        session.save(update_fields=["participant", "consent", "context"])
    return msgspec.to_builtins(snapshots.session_record(session))


@router.get("/sessions/{session_id}", auth=READERS, response=SessionOut, summary="One session")
def get_session(request: AuthedRequest, session_id: str) -> Any:
    session = Session.objects.scoped(request).filter(pk=session_id).first() or not_found("session", session_id)
    return msgspec.to_builtins(snapshots.session_record(session))


@router.get("/sessions/{session_id}/opening", auth=MAKERS, response=Opening, summary="May this session be opened?")
def may_open_session(request: AuthedRequest, session_id: str) -> Any:
    """Whether the caller may open a live session of this id: one of their own that they go on with, or a new one. The
    gateway asks so with its client's token. 403 where they may not, and it doesn't say whether there is one."""
    if not may_open(session_id, request.auth):
        raise Refusal(403, f"this token can't open the session {session_id!r}; make a new id")
    return {"session_id": session_id, "known": Session.objects.filter(pk=session_id).exists()}


@router.get("/turns", auth=READERS, response=Page[TurnOut], summary="Turns, newest first")  # type: ignore[valid-type]
def list_turns(request: AuthedRequest, paging: Query[Paging], wanted: Query[TurnFilter]) -> Any:
    given = {"session_id": wanted.session, "status": wanted.status, "tags__tag__name": wanted.tag}
    rows = Turn.objects.scoped(request).filter(**_given(given))
    if wanted.pipeline:
        rows = rows.filter(Q(pipeline=wanted.pipeline) | Q(pipeline_hash=wanted.pipeline))
    return _as_records(page(rows.prefetch_related(*snapshots.COMPLETE_TURN), paging), snapshots.turn_record)


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


def _check_bound(caller: Caller, session_id: str) -> None:
    lately = timezone.now() - timedelta(hours=1)
    idle = Session.objects.filter(
        project_id=caller.project_id, made_by=caller.token_id, version=0, queued=False, created_at__gt=lately
    )
    if caller.token_id and idle.exclude(pk=session_id).count() >= MAX_ANNOUNCED:
        raise Refusal(
            429,
            f"this token has announced {MAX_ANNOUNCED} sessions within the hour, and nothing came of them; "
            "open one of these, or try again later",
        )


def _given(wanted: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in wanted.items() if value}


def _as_records(found: dict[str, Any], record: Any) -> dict[str, Any]:
    return {**found, "items": [msgspec.to_builtins(record(row)) for row in found["items"]]}


def _task(task: Task) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(snapshots.stage_record(task))
    session_id = task.turn.session_id if task.turn else task.session_id
    return {**plain, "turn_id": task.turn_id or "", "session_id": session_id}


@router.get("/sessions/{session_id}/items", auth=READERS, response=list[ItemOut])  # type: ignore[valid-type]
def list_items(request: AuthedRequest, session_id: str) -> Any:
    """What the conversation held, in its order, each item once and as it was heard. A turn's `items` name those that
    its language model got."""
    session = Session.objects.scoped(request).filter(pk=session_id).first() or not_found("session", session_id)
    return [msgspec.to_builtins(snapshots.item_record(each)) for each in Item.objects.filter(session=session)]


@router.get("/builds", auth=READERS, response=Page[BuildOut], summary="What tasks ran on, newest first")  # type: ignore[valid-type]
def list_builds(request: AuthedRequest, paging: Query[Paging], kind: Kind = "", component: Name = "") -> Any:
    wanted = {name: value for name, value in (("kind", kind), ("component", component)) if value}
    found = page(Build.objects.scoped(request).filter(**wanted), paging)
    return {**found, "items": [each.content for each in found["items"]]}


@router.get("/builds/{build}", auth=READERS, response=BuildOut)
def get_build(request: AuthedRequest, build: str) -> Any:
    """What a task ran on: component, package, files of its models, parameters, libraries, machine."""
    row = Build.objects.scoped(request).filter(hash=build).first() or not_found("build", build)
    return row.content
