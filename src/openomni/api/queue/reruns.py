"""Queues turns that are on record to be run again, by their own pipelines or by others.

Each is a turn of its own: a run never replaces another. Reruns of the same session through the same pipeline make a
session together, of the same place, in which none waits for another.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from django.db import transaction

from ...bus.work import TurnWork, Work
from ...events import AXIS_RATE
from ...pipeline import spec
from ...pipeline.again import is_silent, outputs
from ...pipeline.judging import TAIL_SECONDS
from ...records import TurnRecord
from ..fleet import components
from ..fleet.placing import Placing
from ..ground.caller import Caller
from ..ground.errors import Refusal, conflict, not_found
from ..pipelines import catalogue
from ..pipelines.models import PipelineVersion, version_of
from ..records import snapshots, writing
from ..records.models import UNFINISHED, Progress, Recording, Session, Turn
from . import following, turn_work

_NAMESPACE = uuid.UUID("6f3c1d52-8f0b-5c37-9d4e-2b7f7f0f6a41")


class SpokenStretch(NamedTuple):
    """Where in a recording what was said is, in seconds; no recording where nobody spoke."""

    recording: str = ""
    start: float = 0.0
    end: float = 0.0
    track: int | None = None
    channel: int | None = None


class Rerun(NamedTuple):
    turn: Turn
    pipeline: spec.Pipeline
    sound: SpokenStretch


def queue(
    caller: Caller,
    turn_ids: Sequence[str],
    pipelines: Sequence[str],
    begin: str,
    given: Mapping[str, str],
    request_id: str,
    wait: bool,
) -> list[Turn]:
    """The new turns, as asked for, those of one turn together. `request_id` names the first session, and with it all:
    the same request again adds nothing. Raises Refusal or WrongUsage before anything is queued."""
    wanted = [
        _rerun(turn, pipeline, begin, given)
        for turn in _turns(caller, turn_ids)
        for pipeline in ([_named(caller, name) for name in pipelines] or [_own(turn)])
    ]
    _check({each.pipeline.hash: each.pipeline for each in wanted}.values(), caller.project_id, wait)
    groups: dict[tuple[str, str], list[Rerun]] = {}
    for each in wanted:
        groups.setdefault((each.turn.session_id, each.pipeline.hash), []).append(each)
    made: dict[tuple[str, str], Turn] = {}
    for number, several in enumerate(groups.values()):
        session_id = request_id if number == 0 else uuid.uuid5(_NAMESPACE, f"{request_id} {number}").hex
        with transaction.atomic():
            session = _session(session_id, several, caller)
            rows = _rows(session, several)
            made |= {(each.turn.pk, each.pipeline.hash): row for each, row in zip(several, rows, strict=True)}
            writing.follow_queue(session)
            new = [pair for pair in zip(several, rows, strict=True) if pair[1].status == Progress.PENDING]
            following.put(session, [_work(each, row, begin, given) for each, row in new], waits=False)
        turn_work.hand_over(session_id)
    return [made[each.turn.pk, each.pipeline.hash] for each in wanted]


def _turns(caller: Caller, ids: Sequence[str]) -> list[Turn]:
    rows = Turn.objects.of_caller(caller).select_related("session").prefetch_related(*snapshots.COMPLETE_TURN)
    found: dict[str, Turn] = rows.in_bulk(list(dict.fromkeys(ids)))
    for key in dict.fromkeys(ids):
        turn = found.get(key) or not_found("turn", key)
        if turn.status in UNFINISHED:
            conflict(f"turn {key} is {turn.status}; run it again when it is over")
    return [found[key] for key in dict.fromkeys(ids)]


def _named(caller: Caller, name: str) -> spec.Pipeline:
    """By its name as it is now, or `name@hash` as it was."""
    name, _, version = name.partition("@")
    if not version:
        return catalogue.find(caller.project_id, name).pipeline
    return _version(caller.project_id, version, name) or not_found(f"version of {name!r} called", version)


def _own(turn: Turn) -> spec.Pipeline:
    """That of the turn, as it was then."""
    session = turn.session
    if session.pipeline_hash == turn.pipeline_hash and session.spec:
        return spec.parse(session.spec, turn.pipeline)
    return _version(turn.project_id, turn.pipeline_hash, turn.pipeline) or conflict(
        f"the pipeline {turn.pipeline} is not known as turn {turn.pk} ran through it ({turn.pipeline_hash}); "
        "name one that is"
    )


def _version(project_id: str, hash: str, name: str) -> spec.Pipeline | None:
    row = PipelineVersion.objects.filter(project_id=project_id, hash=hash, pipeline__name=name).first()
    return spec.parse(row.spec, name) if row else None


def _rerun(turn: Turn, pipeline: spec.Pipeline, begin: str, given: Mapping[str, str]) -> Rerun:
    record = snapshots.turn_record(turn)
    outputs(record, pipeline, begin, given)  # raises for what can't be given
    return Rerun(turn, pipeline, SpokenStretch() if is_silent(record) else _sound(turn, record))


def _sound(turn: Turn, record: TurnRecord) -> SpokenStretch:
    utterance = record.utterance
    recording_id = utterance.recording if utterance is not None else turn.recording
    recording = Recording.objects.filter(project_id=turn.project_id, pk=recording_id).first()
    if recording is None:
        conflict(f"nothing on this server holds what was said in turn {turn.pk}; its recording was not kept")
    if recording.status != Recording.Status.COMPLETE:
        conflict(f"recording {recording.pk}, which has turn {turn.pk}, is still being uploaded; try again later")
    if utterance is not None:
        start, end = utterance.start, utterance.end
    else:  # its agent was lost before it heard the end
        said = record.segments[0]
        start, end = said.start, said.end + round(TAIL_SECONDS * AXIS_RATE)
    begins = 0 if turn.session.queued else recording.position
    chosen = (utterance.track, utterance.channel) if utterance is not None else (None, None)
    return SpokenStretch(recording.pk, max(start - begins, 0) / AXIS_RATE, max(end - begins, 0) / AXIS_RATE, *chosen)


def _check(pipelines: Collection[spec.Pipeline], project_id: str, wait: bool) -> None:
    known, placing = components.schemas(project_id), Placing.now(project_id)
    for pipeline in pipelines:
        if faults := spec.check(pipeline, known):
            raise Refusal(422, faults[0], errors=faults)
        if not wait and (lines := placing.unplaced(pipeline, known)):
            conflict("; ".join(lines) + "; or send wait=true to queue it until then", problems=lines)


def _session(session_id: str, several: Sequence[Rerun], caller: Caller) -> Session:
    """Of the place of the session that it is of, and with what its participant agreed to."""
    pipeline, told = several[0].pipeline, several[0].turn.session
    try:
        session = writing.placeholder(caller.project_id, session_id, caller)
    except writing.RecordRefused:
        conflict(f"the session id {session_id} is taken; make a new one")
    if session.pipeline and session.source != f"session:{told.pk}":
        conflict(f"the session id {session_id} is taken; make a new one")
    if not session.pipeline:
        session.pipeline, session.pipeline_hash = pipeline.name, pipeline.hash
        session.spec = pipeline.normalised()
        for name in ("site", "device", "participant", "consent", "context", "turn_taking"):
            setattr(session, name, getattr(told, name))
        session.source, session.origin = f"session:{told.pk}", "reprocess"
        session.recordings = list(dict.fromkeys(each.sound.recording for each in several if each.sound.recording))
        session.queued = True
        session.save()
    # Agents ask for it by its hash.
    version_of(session.project_id, pipeline.name, pipeline.hash, pipeline.normalised())
    return session


def _rows(session: Session, several: Sequence[Rerun]) -> list[Turn]:
    keys = [uuid.uuid5(_NAMESPACE, f"{session.pk} {each.turn.pk}").hex for each in several]
    Turn.objects.bulk_create(
        (
            following.pending(
                session,
                key,
                index,
                each.pipeline,
                recording=each.sound.recording,
                reruns=each.turn.pk,
                origin="reprocess",
                live=False,
                participant=each.turn.participant,
            )
            for index, (key, each) in enumerate(zip(keys, several, strict=True))
        ),
        ignore_conflicts=True,
    )
    rows: dict[str, Turn] = Turn.objects.in_bulk(keys)
    return [rows[key] for key in keys]


def _work(each: Rerun, row: Turn, begin: str, given: Mapping[str, str]) -> Work:
    body = TurnWork(
        turn_id=row.pk,
        session_id=row.session_id,
        index=row.index,
        pipeline=each.pipeline.name,
        recording=each.sound.recording,
        start=each.sound.start,
        end=each.sound.end,
        track=each.sound.track,
        channel=each.sound.channel,
        options={"participant": each.turn.participant},
        reruns=each.turn.pk,
        begin=begin,
        given=dict(given),
    )
    needs = [f"{kind}:{component}" for kind, component in each.pipeline.needs]
    return body.work(row.project_id, each.pipeline.hash, needs=needs)
