"""Cells at fast pace: each a session with a queued turn for every utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from django.utils import timezone

from ...bus.envelope import THROUGHPUT
from ...bus.work import TurnWork
from ...datasets import Sample, Utterance
from ...pipeline import spec
from ..datasets import reading
from ..datasets.models import DatasetUtterance
from ..queue.models import QueuedWork
from ..queue.wake import Wake
from ..records.models import UNFINISHED, Progress, Session, Turn
from . import planning
from .models import Cell, Experiment
from .starting import REFERENCES

ORIGIN = "experiment"
room = Wake()
"""That a cell is over, or that there are new ones."""
Fed = (Cell.Status.QUEUED, Cell.Status.RUNNING)
"""What the queue has of an experiment."""


def put(experiment: Experiment, cells: Sequence[Cell], pipelines: Mapping[int, spec.Pipeline]) -> None:
    """Queues them, in the transaction of whoever calls; their first turns need not wait. `pipelines` by their rows'
    ids."""
    if not cells:
        return
    speakers = _speakers(cells)
    sessions, turns, works = [], [], []
    for cell in cells:
        cell.attempt += 1
        cell.session = planning.session_id(cell.pk, cell.attempt)
        cell.status, cell.reason, cell.started_at, cell.ended_at = Cell.Status.QUEUED, "", None, None
        sample, pipeline = reading.value_of(cell.sample), pipelines[cell.pipeline_id]
        session = _session(experiment, cell, sample, pipeline)
        sessions.append(session)
        for index, said in enumerate(sample.utterances):
            who = speakers.get((cell.sample_id, index), "")
            turn = _turn(session, cell, index, said, pipeline, who)
            turns.append(turn)
            works.append(_work(experiment, cell, turn, said, pipeline, who))
    Session.objects.bulk_create(sessions, ignore_conflicts=True)
    Turn.objects.bulk_create(turns, ignore_conflicts=True)
    QueuedWork.objects.bulk_create(works, ignore_conflicts=True)
    Cell.objects.bulk_update(cells, ["attempt", "session", "status", "reason", "started_at", "ended_at"])


def drop(sessions: Sequence[str], reason: str) -> None:
    """What of these sessions is still to be run is not: it is cancelled, and out of the outbox."""
    gone = Turn.objects.filter(session__in=sessions, status__in=UNFINISHED)
    gone.update(status=Progress.CANCELLED, outcome="cancelled", reason=reason)
    QueuedWork.objects.filter(session__in=sessions).delete()
    closed = {"status": Session.Status.CLOSED, "ended_at": timezone.now()}
    Session.objects.filter(pk__in=sessions, queued=True, status=Session.Status.OPEN).update(**closed)


def _speakers(cells: Sequence[Cell]) -> dict[tuple[int, int], str]:
    """Codes of the participants by sample and utterance, where they are known."""
    rows = DatasetUtterance.objects.filter(sample__in={each.sample_id for each in cells}).exclude(participant="")
    return {(each.sample_id, each.index): each.participant for each in rows}


def _session(experiment: Experiment, cell: Cell, sample: Sample, pipeline: spec.Pipeline) -> Session:
    return Session(
        id=cell.session, project_id=experiment.project_id, pipeline=pipeline.name, pipeline_hash=pipeline.hash,
        spec=pipeline.normalised(), source=f"experiment:{experiment.name} {cell.sample.sample_id}", origin=ORIGIN,
        recordings=list(dict.fromkeys(said.sound.path for said in sample.utterances)), started_at=timezone.now(),
        queued=True,
    )  # fmt: skip


def _turn(session: Session, cell: Cell, index: int, said: Utterance, pipeline: spec.Pipeline, who: str) -> Turn:
    key = planning.turn_id(session.pk, index)
    return Turn(
        id=key, version=1, project_id=session.project_id, session=session, index=index, pipeline=pipeline.name,
        pipeline_hash=pipeline.hash, status=Progress.PENDING, recording=said.sound.path, origin=ORIGIN, live=False,
        cell=cell.pk, participant=who,
    )  # fmt: skip


def _work(
    experiment: Experiment, cell: Cell, turn: Turn, said: Utterance, pipeline: spec.Pipeline, who: str
) -> QueuedWork:
    sound = said.sound
    body = TurnWork(
        turn_id=turn.pk, session_id=turn.session_id, index=turn.index, pipeline=pipeline.name, recording=sound.path,
        start=sound.start, end=-1.0 if sound.end is None else sound.end, track=sound.track,
        channel=sound.channel,
        options={"origin": ORIGIN, "cell": cell.pk, "participant": who},
        given={kind: getattr(said, REFERENCES[kind]) for kind in experiment.given},
    )  # fmt: skip
    needs = [f"{kind}:{component}" for kind, component in pipeline.needs]
    work = body.work(turn.project_id, pipeline.hash, lane=THROUGHPUT, group=str(experiment.pk), needs=needs)
    return QueuedWork(
        id=work.work_id, project_id=turn.project_id, session_id=turn.session_id, place=turn.index,
        work=msgspec.to_builtins(work), waits=turn.index > 0,
    )  # fmt: skip
