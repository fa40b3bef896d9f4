"""Work from when it is wanted until it is over: the outbox of the queue on the bus."""

from __future__ import annotations

from typing import Any

from django.db import models

from ..ground.erasing import erased
from ..ground.scoping import ProjectOwned
from ..records.models import Session


@erased(session="session", turn="pk")
class QueuedWork(ProjectOwned):
    """A row is made with the rows that the work belongs to, and handed over to the bus once it need not wait."""

    limits = {"site": ("session__site",), "device": ("session__device",), "maker": ("session__made_by",)}

    id = models.CharField(primary_key=True, max_length=64, editable=False)
    """The work's id; of a turn its own."""
    session = models.ForeignKey(Session, null=True, blank=True, on_delete=models.CASCADE, related_name="queued_work")
    place = models.PositiveIntegerField(default=0)
    """Where it stands in its session: the turn's index."""
    work: models.JSONField[Any, Any] = models.JSONField()
    """`bus.envelope.Work` as JSON."""
    waits = models.BooleanField(default=False)
    """For the turn before it in its session."""
    handed_at = models.DateTimeField(null=True, blank=True)
    """When the bus had it on disk."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("created_at", "place", "id")
        verbose_name_plural = "queued work"
        indexes = [
            models.Index(fields=["session", "place"], name="work_by_place"),
            models.Index(
                fields=["created_at"], name="work_to_hand_over", condition=models.Q(waits=False, handed_at=None)
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)[:12]
