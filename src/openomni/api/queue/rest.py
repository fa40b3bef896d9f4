"""Turns to run on recordings, and what failed too often, over HTTP."""

from __future__ import annotations

import math
import uuid
from typing import Annotated, Any, Literal

from ninja import Field, Path, Query, Router, Schema, Status
from pydantic import AfterValidator

from ... import bounds
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import not_found
from ..ground.fields import Body, Line, Name, NewId, PartMessage, Text
from ..ground.paging import Page
from ..pipelines import catalogue
from ..records.models import Recording
from . import dead_letters, reruns, turn_work

router = Router(tags=["conversations"])
MAKERS = allow(Scope.DEVICE, Scope.AGENT, Scope.RESEARCHER)


def _span(span: turn_work.Span) -> turn_work.Span:
    start, end = span
    if not (0 <= start < math.inf and (end < 0 or start < end)):
        raise ValueError(f"{start:g} to {end:g} s is no span; it takes 0 ≤ start < end, or an end below 0 for the rest")
    return span


Span = Annotated[turn_work.Span, AfterValidator(_span), Field(strict=False, description="start and end in seconds")]


class QueueNew(PartMessage):
    """Turns to run on a recording: one a span in seconds, an end below 0 meaning the recording's; without spans the
    speech in it is found first. Without `session_id` it is the session of this very request, which adds nothing when
    it is sent again. `wait`: queue even when no live agent offers what the pipeline needs.
    """

    recording_id: NewId
    pipeline: Name
    session_id: NewId | None = None
    spans: list[Span] | None = Field(None, min_length=1, max_length=500)
    wait: bool = False
    participant: Name = Field("", description="code of who is heard; else as it was recorded")
    context: Line = Field("", description="a note: the place, the task, who is there")
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
    cause: str
    """`failed`, `unreadable` (by this version), `refused`, `too_large` (the content is an excerpt)."""
    size: int
    content: Any


class Retried(Schema):
    status: Literal["queued"] = "queued"


@router.post(
    "/turns/queue",
    auth=MAKERS,
    response={202: Queued},
    summary="Run turns on a recording",
    openapi_extra=also(409),
)
def queue_turns(request: AuthedRequest, payload: QueueNew) -> Any:
    """They are there with the status `pending` at once; the same request again adds nothing."""
    caller = request.auth
    recording = Recording.objects.scoped(request).filter(pk=payload.recording_id).first()
    if recording is None:
        not_found("recording", payload.recording_id)
    pipeline = catalogue.find(caller.project_id, payload.pipeline).pipeline
    session_id = payload.session_id or turn_work.session_for(recording, pipeline, payload.spans)
    options = payload.options | ({"participant": payload.participant} if payload.participant else {})
    turns = turn_work.queue(
        recording, pipeline, session_id, payload.spans, payload.wait, options, caller, payload.context
    )
    return Status(202, {"session_id": session_id, "turns": turns})


class RerunNew(Body):
    """Turns to run again: by their own pipelines as they were then, or by each of `pipelines` (a name, or `name@hash`).
    `from`: the kind of the stage to begin with; those before it give what they gave then. `with`: by kind, what a stage
    is to give instead of running. `session_id` names the session that they are turns of; the same request again with
    the same one adds nothing, without one it runs them once more. `wait`: queue even when no live agent offers what a
    pipeline needs."""

    turns: list[Name] = Field(min_length=1, max_length=500)
    pipelines: list[Name] = Field([], max_length=20)
    begin: str = Field("", alias="from", max_length=40)
    given: dict[str, Text] = Field({}, alias="with")
    session_id: NewId | None = None
    wait: bool = False


class RerunTurn(Schema):
    turn_id: str = Field(alias="pk")
    session_id: str
    reruns: str
    pipeline: str
    pipeline_hash: str
    status: str


class Reruns(Schema):
    turns: list[RerunTurn]


@router.post(
    "/turns/rerun",
    auth=MAKERS,
    response={202: Reruns},
    summary="Run turns again",
    openapi_extra=also(404, 409),
)
def rerun(request: AuthedRequest, payload: RerunNew) -> Any:
    """Each stage is given the very input that it had: the span of sound, the items and pictures that its model got,
    what was asked for. The new turns say in `reruns` which they run again, and in `given` what was given."""
    session_id = payload.session_id or uuid.uuid4().hex
    turns = reruns.queue(
        request.auth, payload.turns, payload.pipelines, payload.begin, payload.given, session_id, payload.wait
    )
    return Status(202, {"turns": turns})


@router.get("/tasks/dead", auth=allow(Scope.VIEWER), response=Page[DeadOut], summary="What failed too often")
def list_dead(
    request: AuthedRequest,
    cursor: Annotated[str, Query(pattern=r"^\d{0,18}$")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Any:
    """Oldest first."""
    letters = dead_letters.of_project(request, int(cursor or 0), limit)
    return {"items": letters, "next": str(letters[-1]["sequence"]) if len(letters) == limit else None}


@router.post(
    "/tasks/dead/{sequence}/retry",
    auth=MAKERS,
    response={202: Retried},
    summary="Try dead work again",
    openapi_extra=also(409),
)
def retry_dead(request: AuthedRequest, sequence: Annotated[int, Path(ge=1, le=bounds.MAX_INT)]) -> Any:
    """Work goes back into the queue, with all its attempts anew; a record is written back as it was."""
    dead_letters.retry(request, sequence)
    return Status(202, {})
