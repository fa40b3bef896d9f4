"""Queues the turns of a recording as work for agents. Asking again adds nothing: turn ids follow from what is asked."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from django.db import transaction

from ... import bounds
from ...bus import work
from ...bus.connection import BusError
from ...pipeline import spec
from ..fleet import components
from ..fleet.placing import Placing
from ..ground import bus_line
from ..ground.caller import Caller
from ..ground.errors import Refusal, conflict
from ..pipelines.models import version_of
from ..records import whose, writing
from ..records.models import Progress, Recording, Session, Turn
from . import following, outbox

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
    context: str = "",
) -> list[Turn]:
    """The turns, one a span (seconds in the recording), in one session; without spans one, which is cut by speech.

    They are rows before any agent sees them, and of the recording's place. Raises Refusal when the pipeline can't run,
    when the session is another place's than the caller's, or, unless `wait`, when no live agent offers what it needs.
    """
    _check(recording, pipeline, wait)
    wanted = {_turn_id(recording, pipeline, session_id, start): (start, end) for start, end in spans or [WHOLE]}
    with transaction.atomic():
        session = _open(recording, pipeline, session_id, caller)
        whose.is_of(session, _heard_in(recording, options), recording.consent, context, recording.started_at)
        session.save(update_fields=["participant", "consent", "context"])
        if session.participant:
            options = {**options, "participant": session.participant}
        turns = _rows(session, recording, pipeline, wanted)
        writing.follow_queue(session)
        new = [turn for turn in turns if turn.queued_at is None and turn.status == Progress.PENDING]
        following.put(session, [_work(turn, pipeline, wanted[turn.pk], options, segment=spans is None) for turn in new])
    hand_over(session.pk)
    return turns


def session_for(recording: Recording, pipeline: spec.Pipeline, spans: Sequence[Span] | None) -> str:
    """The session of who names none: the same for the same request, so that asking again adds nothing."""
    asked = " ".join(f"{start:.6f}-{end:.6f}" for start, end in spans or [WHOLE])
    return uuid.uuid5(_NAMESPACE, f"{recording.project_id} {recording.pk} {pipeline.hash} {asked}").hex


def _work(turn: Turn, pipeline: spec.Pipeline, span: Span, options: dict[str, Any], segment: bool) -> work.Work:
    body = work.TurnWork(
        turn_id=turn.pk,
        session_id=turn.session_id,
        index=turn.index,
        pipeline=pipeline.name,
        recording=turn.recording,
        start=span[0],
        end=span[1],
        segment=segment,
        options=options,
    )
    needs = [f"{kind}:{component}" for kind, component in pipeline.needs]
    return body.work(turn.project_id, pipeline.hash, needs=needs)


def hand_over(session_id: str) -> None:
    """At once, where that can be done; else the recorder does it when the bus is back."""
    try:
        outbox.hand_over(session_id)
    except (BusError, bus_line.BusAway) as error:
        log.info("the turns of session %s are handed over later: %s", session_id, error)


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
        session = writing.placeholder(recording.project_id, session_id, caller)
    except writing.RecordRefused:
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
    # Agents ask for it by its hash.
    version_of(session.project_id, pipeline.name, pipeline.hash, pipeline.normalised())
    return session


def _heard_in(recording: Recording, options: dict[str, Any]) -> str:
    """The code of who is heard, as it is asked for, else as it was recorded."""
    told = options.get("participant")
    held = recording.session.participant if recording.session else ""
    return (told if isinstance(told, str) else "")[: bounds.MAX_NAME] or recording.participant or held


def _rows(session: Session, recording: Recording, pipeline: spec.Pipeline, wanted: dict[str, Span]) -> list[Turn]:
    """The turns in the order asked for; new ones are counted on from those of the session."""
    there = Turn.objects.filter(session=session).in_bulk(list(wanted))
    count = session.turns.count()
    new = [key for key in wanted if key not in there]
    Turn.objects.bulk_create(
        (
            following.pending(session, key, index, pipeline, recording=recording.pk, participant=session.participant)
            for index, key in enumerate(new, count)
        ),
        ignore_conflicts=True,
    )
    rows: dict[str, Turn] = Turn.objects.in_bulk(list(wanted))
    return [rows[key] for key in wanted]
