"""Stops an experiment: what is queued is taken out, what runs is stopped, and what was run stays."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from ...bus import streams
from ..ground import bus_line
from ..queue.models import QueuedWork
from . import queueing
from .models import Cell, Experiment

REASON = "the experiment was cancelled"


def cancel(experiment: Experiment) -> None:
    """Nothing of it is queued then, but for what the outbox had in hand, which that takes out again at once. Asked for
    again it goes on where it was. Raises BusError or BusAway where the bus does not answer: then it is cancelled, and
    cancelling again takes out what the bus still has."""
    with transaction.atomic():
        row = Experiment.objects.select_for_update().get(pk=experiment.pk)
        fed = Cell.objects.filter(experiment=row, status__in=queueing.Fed)
        sessions, keys = list(fed.values_list("session", flat=True)), list(fed.values_list("pk", flat=True))
        queueing.drop(sessions, REASON)
        calls = QueuedWork.objects.filter(pk__in=keys)  # they go by the name of their cells
        calls.filter(handed_at=None).update(waits=True)  # the outbox may have them in hand, and looks at this
        calls.exclude(handed_at=None).delete()
        fed.update(status=Cell.Status.CANCELLED, reason=REASON, ended_at=timezone.now())
        if row.status == Experiment.Status.RUNNING:
            row.status, row.ended_at = Experiment.Status.CANCELLED, timezone.now()
        # Who goes on at once waits with new work until the old is out: it would be taken out with it.
        row.emptied_at = timezone.now()
        row.save(update_fields=["status", "ended_at", "emptied_at"])
    bus_line.run(lambda bus: streams.cancel(bus, row.project_id, str(row.pk)))
    Experiment.objects.filter(pk=row.pk, emptied_at=row.emptied_at).update(emptied_at=None)
    queueing.room.call()
    experiment.refresh_from_db()
