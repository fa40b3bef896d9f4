"""Cells at real-time pace: each one call, which a caller plays at the gateway as a person would."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import transaction

from ...bus.envelope import CallUtterance, CallWork, Work
from ...datasets import Utterance
from ...records import CellRecord
from ..datasets import reading
from ..queue.models import QueuedWork
from . import planning, playing, queueing
from .models import Cell, Experiment
from .settling import AWAITS_AGENT, GAVE_UP

WINDOW = 8
"""Calls that are queued at a time: one is played after the other, for they must not measure each other."""
MOST_DISTURBED = 50
"""A cell that people came into so often is set aside: its machine is never free for so long."""


def put(experiment: Experiment, cells: Sequence[Cell]) -> None:
    """Queues them, in the transaction of whoever calls."""
    works = []
    for cell in cells:
        cell.attempt += 1
        cell.session = planning.session_id(cell.pk, cell.attempt)
        cell.status, cell.reason, cell.started_at, cell.ended_at = Cell.Status.QUEUED, "", None, None
        work = msgspec.to_builtins(_work(experiment, cell))
        # A call's work is named after its cell, whichever attempt it is.
        works.append(QueuedWork(id=cell.pk, project_id=cell.project_id, place=0, work=work))
    QueuedWork.objects.filter(pk__in=[each.pk for each in works]).delete()
    QueuedWork.objects.bulk_create(works)
    Cell.objects.bulk_update(cells, ["attempt", "session", "status", "reason", "started_at", "ended_at"])


def _work(experiment: Experiment, cell: Cell) -> Work:
    sample, player = reading.value_of(cell.sample), playing.choice_of(experiment)
    call = CallWork(
        cell=cell.pk, experiment=str(experiment.pk), pipeline=cell.pipeline.name, session_id=cell.session,
        attempt=cell.attempt, utterances=[_said(each, player is not None) for each in sample.utterances],
        settings={"seed": experiment.seed}, sample=sample.id if player else "", player=player,
    )  # fmt: skip
    return call.work(cell.project_id, cell.pipeline.hash, group=str(experiment.pk))


def _said(said: Utterance, played: bool) -> CallUtterance:
    """With what a player is told of it, where one plays."""
    sound = said.sound
    told: dict[str, Any] = {"text": said.text, "answer": said.answer, "fields": said.fields} if played else {}
    return CallUtterance(
        recording=sound.path, start=sound.start, end=-1.0 if sound.end is None else sound.end, track=sound.track,
        channel=sound.channel, when=said.when, **told,
    )  # fmt: skip


def was_played(record: CellRecord, **_: Any) -> None:
    """What a caller says of a cell: a result; or that somebody else's conversation came in between, or that the agents
    that it needs had gone, and it is played once more. A record of an earlier attempt, or one that comes again, changes
    nothing."""
    with transaction.atomic():
        rows = Cell.objects.select_for_update().filter(pk=record.cell, project_id=record.project)
        cell = rows.filter(attempt=record.attempt, status__in=queueing.Fed).first()
        if cell is None:
            return
        QueuedWork.objects.filter(pk=cell.pk).delete()
        cell.session, cell.reason = record.session_id, record.reason
        cell.started_at, cell.ended_at = _moment(record.started_at), _moment(record.ended_at)
        names = ("caller", "frames_lost", "microphone_late_s", "player", "turns")
        cell.played = {name: msgspec.to_builtins(getattr(record, name)) for name in names}
        cell.status = Cell.Status.FAILED if record.status == "failed" else Cell.Status.DONE
        if record.status == "disturbed":
            _disturbed(cell)
        elif record.unserved and cell.attempt < GAVE_UP:
            cell.status, cell.reason = Cell.Status.PLANNED, AWAITS_AGENT
        cell.save()
    queueing.room.on_commit()


def _disturbed(cell: Cell) -> None:
    cell.disturbed += 1
    if cell.disturbed < MOST_DISTURBED:
        cell.status = Cell.Status.PLANNED
    else:
        cell.status = Cell.Status.FAILED
        cell.reason = f"it was disturbed {cell.disturbed} times, the last time because {cell.reason}"


def _moment(at: float) -> datetime | None:
    return datetime.fromtimestamp(at, UTC) if at else None
