"""Queues the turns of a recording as work for agents. Asking again adds nothing: turn ids follow from what is asked."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from ...bus import streams, work
from ...bus.connection import Bus
from ...pipeline import spec
from ..fleet import components
from ..fleet.placing import Placing
from ..ground import bus_line
from ..ground.caller import Caller
from ..ground.errors import Refusal, conflict
from ..pipelines.models import version_of
from ..records import snapshots
from ..records.models import Progress, Recording, Session, Turn

log = logging.getLogger("openomni.api")

Span = tuple[float, float]
WHOLE: Span = (0.0, -1.0)
_NAMESPACE = uuid.UUID("0d4b7a5e-3c0f-5d0c-9a53-6f0a3c1c7e11")


def queue(
    recording: Recording,
    pipeline: spec.Pipeline,
    session_id: str,
    spans: Sequence[Span] | None,
    wait: bool,
    options: dict[str, Any],
    caller: Caller,
) -> list[Turn]:
    """The turns, one a span (seconds in the recording), in one session; without spans one, which is cut by speech.

    They are rows before any agent sees them, and of the recording's place. Raises Refusal when the pipeline can't run,
    when the session is another place's than the caller's, or, unless `wait`, when no live agent offers what it needs.
    """
    _check(recording, pipeline, wait)
    wanted = {_turn_id(recording, pipeline, session_id, start): (start, end) for start, end in spans or [WHOLE]}
    with transaction.atomic():
        session = _open(recording, pipeline, session_id, caller)
        turns = _rows(session, recording, pipeline, wanted)
        snapshots.follow_queue(session)
        new = [turn for turn in turns if turn.queued_at is None and turn.status == Progress.PENDING]
        items = [_item(turn, pipeline, wanted[turn.pk], options, segment=spans is None) for turn in new]
        first = _chain(items) if items else None
    if first:
        bus_line.run(lambda bus: _enqueue(bus, first))
        Turn.objects.filter(pk__in=[turn.pk for turn in new]).update(queued_at=timezone.now())
    return turns


def _item(turn: Turn, pipeline: spec.Pipeline, span: Span, options: dict[str, Any], segment: bool) -> work.TurnWork:
    return work.TurnWork(
        turn_id=turn.pk,
        session_id=turn.session_id,
        index=turn.index,
        project=turn.project_id,
        pipeline=pipeline.name,
        pipeline_hash=pipeline.hash,
        spec=pipeline.normalised(),
        recording=turn.recording,
        start=span[0],
        end=span[1],
        segment=segment,
        history=[],
        then=[],
        ready_at=time.time(),
        options=options,
    )


async def _enqueue(bus: Bus, first: work.TurnWork) -> None:
    # Agents claim through the project's consumer, which is there from its first work on.
    await streams.work_consumer(bus, first.project)
    await work.enqueue(bus, first)


def _chain(items: list[work.TurnWork]) -> work.TurnWork:
    """A session's turns follow one another, for each is told what was said before: the first carries the rest, of
    which it names only what differs."""
    first, *rest = items
    own = ("turn_id", "index", "start", "end")
    first.then = [{name: getattr(item, name) for name in own} for item in rest]
    return first


def _check(recording: Recording, pipeline: spec.Pipeline, wait: bool) -> None:
    if recording.status != Recording.Status.COMPLETE:
        conflict(
            f"recording {recording.pk} is still being uploaded ({recording.received} bytes so far); "
            "queue its turns when it is complete",
            received=recording.received,
        )
    known = components.schemas(recording.project_id)
    if faults := spec.check(pipeline, known):
        raise Refusal(422, faults[0], errors=faults)
    if not wait and (lines := Placing.now(recording.project_id).unplaced(pipeline, known)):
        conflict("; ".join(lines) + "; or send wait=true to queue it until then", problems=lines)


def _turn_id(recording: Recording, pipeline: spec.Pipeline, session_id: str, start: float) -> str:
    return uuid.uuid5(_NAMESPACE, f"{recording.pk} {pipeline.hash} {start:.6f} {session_id}").hex


def _open(recording: Recording, pipeline: spec.Pipeline, session_id: str, caller: Caller) -> Session:
    try:
        session = snapshots.placeholder(recording.project_id, session_id, caller)
    except snapshots.Refused:
        conflict(f"the session id {session_id} is taken; make a new one")
    if not session.pipeline:
        session.pipeline, session.pipeline_hash = pipeline.name, pipeline.hash
        session.spec = pipeline.normalised()
        held = recording.session or session
        session.site, session.device = recording.site or held.site, recording.device or held.device
        session.source = recording.source or f"recording:{recording.pk}"
        session.started_at = recording.started_at
        session.recordings, session.queued = [recording.pk], True
        session.save()
        version_of(session.project_id, pipeline.name, pipeline.hash, session.spec)
    return session


def _rows(session: Session, recording: Recording, pipeline: spec.Pipeline, wanted: dict[str, Span]) -> list[Turn]:
    """The turns in the order asked for; new ones are counted on from those of the session."""
    there = Turn.objects.filter(session=session).in_bulk(list(wanted))
    following = session.turns.count()
    new = [key for key in wanted if key not in there]
    Turn.objects.bulk_create(
        (
            Turn(
                id=key,
                version=1,
                project_id=session.project_id,
                session=session,
                index=index,
                pipeline=pipeline.name,
                pipeline_hash=pipeline.hash,
                status=Progress.PENDING,
                recording=recording.pk,
            )
            for index, key in enumerate(new, following)
        ),
        ignore_conflicts=True,
    )
    rows: dict[str, Turn] = Turn.objects.in_bulk(list(wanted))
    return [rows[key] for key in wanted]
