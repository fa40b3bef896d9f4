"""What of the media is on its way out."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class DroppedMedia(models.Model):
    """Bytes whose row was deleted: it is written with that, and gone once the store has forgotten them.

    It names its project and does not point at it, for it outlives a project that is deleted.
    """

    key = models.CharField(primary_key=True, max_length=200)
    project = models.CharField(max_length=40, db_index=True)
    tries = models.PositiveIntegerField(default=0)
    fault = models.TextField(blank=True)
    """Why they are still there."""
    dropped_at = models.DateTimeField(default=timezone.now)
    again_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ("dropped_at", "key")
        verbose_name_plural = "dropped media"

    def __str__(self) -> str:
        return self.key
