"""What becomes of cells at fast pace, from what becomes of their turns."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from ..records.models import UNFINISHED, Progress, Turn
from . import queueing
from .models import Cell
from .runnable import can_run

GAVE_UP = 5
"""Attempts after which a cell whose pipeline lost its agents each time is set aside."""
AWAITS_AGENT = "it waits for an agent: the last that offered what it needs went while it ran"


def turn_was_written(turn: Turn, **_: Any) -> None:
    """A turn came on; in the transaction that records it. A turn that comes twice, or late from a run that was given
    up, changes nothing."""
    if not turn.cell or turn.live:
        return
    # What was given up is no longer this run's, and a failed one may yet succeed: its work was put back by hand.
    mine = Cell.objects.filter(
        pk=turn.cell, session=turn.session_id, project_id=turn.project_id,
        status__in=(*queueing.Fed, Cell.Status.FAILED),
    )  # fmt: skip
    cell = mine.select_for_update(of=("self",)).select_related("pipeline", "experiment").first()
    if cell is not None:
        _settle(cell, turn)


def turn_failed(turn: Turn, **_: Any) -> None:
    """Its work was put aside: nobody is left who says what became of it."""
    turn_was_written(turn)


def _settle(cell: Cell, turn: Turn) -> None:
    fields = ("pk", "status", "reason", "started_at")
    turns = Turn.objects.filter(session=cell.session).order_by("index").values_list(*fields, named=True)
    now = {each.status for each in turns}
    if cell.started_at is None:
        cell.started_at = min((each.started_at for each in turns if each.started_at), default=None)
    failed = next((each for each in turns if each.status == Progress.FAILED), None)
    if failed is not None and failed.pk == turn.pk and turn.version > 1 and _lost_its_agents(cell):
        _again(cell)
    elif now & set(UNFINISHED):
        cell.status = Cell.Status.RUNNING
    elif Progress.CANCELLED in now:
        cell.status = Cell.Status.CANCELLED
    elif failed is not None:
        cell.status, cell.reason = Cell.Status.FAILED, failed.reason
    else:
        cell.status, cell.reason = Cell.Status.DONE, ""
    cell.ended_at = timezone.now() if cell.status in Cell.OVER else None
    cell.save(update_fields=["status", "reason", "session", "started_at", "ended_at"])
    if cell.status != Cell.Status.RUNNING:
        queueing.room.on_commit()


def _lost_its_agents(cell: Cell) -> bool:
    """Whether it failed for want of an agent, and not by itself: nobody offers any more what it needs."""
    return cell.attempt < GAVE_UP and not can_run(cell.project_id, cell.pipeline.hash, cell.pipeline.name)


def _again(cell: Cell) -> None:
    """It waits until somebody can run it, and begins anew then."""
    queueing.drop([cell.session], "nobody was left to run it; its cell is run again")
    cell.status, cell.started_at, cell.session = Cell.Status.PLANNED, None, ""
    cell.reason = AWAITS_AGENT
