"""Media as captured, replies as spoken, and what was made of them."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils import timezone

from ...ground.erasing import Subject, erased
from ...ground.scoping import ProjectOwned
from ..media_types import EXTENSIONS
from .conversations import Recorded, Session


@erased(Subject.RECORDING, participant="participant", session="session", turn="turn_id", recording="pk")
class Recording(Recorded):
    """A media file as captured, a reply as spoken, or a picture that a client put into the conversation. Its id is made
    by who captured it.

    The row may be there before the first byte: somebody told of it, and the bytes are on their way.
    """

    limits = {
        "site": ("site", "session__site"),
        "device": ("device", "session__device"),
        "maker": ("made_by", "session__made_by"),
    }

    class Kind(models.TextChoices):
        AUDIO = "audio"
        VIDEO = "video"
        REPLY = "reply"
        PICTURE = "picture"

    class Status(models.TextChoices):
        AWAITED = "awaited"
        RECEIVING = "receiving"
        COMPLETE = "complete"

    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.AUDIO)
    media_type = models.CharField(max_length=100, default="audio/wav")
    session = models.ForeignKey(Session, null=True, blank=True, on_delete=models.RESTRICT, related_name="recorded")
    turn_id = models.CharField(max_length=64, blank=True, db_index=True)
    site = models.CharField(max_length=40, blank=True)
    device = models.CharField(max_length=40, blank=True)
    made_by = models.CharField(max_length=200, blank=True, editable=False)
    """The id of the token that it was made with."""
    participant = models.CharField(max_length=200, blank=True)
    consent = models.CharField(max_length=200, blank=True)
    """What the participant had agreed to when it was recorded."""
    source = models.TextField(blank=True)
    rate = models.PositiveIntegerField(null=True, blank=True)
    samples = models.PositiveBigIntegerField(null=True, blank=True)
    position = models.PositiveBigIntegerField(default=0)
    """Where its first sample lies on the session's axis (samples at 16 kHz)."""
    duration_s = models.FloatField(null=True, blank=True, editable=False)
    """Where nobody counted samples: as the file's own time stamps have it, once it is complete."""
    audio_track = models.PositiveSmallIntegerField(null=True, blank=True)
    """Which of the file's tracks of sound is meant, from 1; none: as its readers choose. So for pictures."""
    video_track = models.PositiveSmallIntegerField(null=True, blank=True)
    received = models.PositiveBigIntegerField(default=0)
    """Bytes on disk so far."""
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.AWAITED)
    sha256 = models.CharField(max_length=64, blank=True)
    store = models.CharField(max_length=40, blank=True, editable=False)
    """The name of the store that has it; empty while it is still coming."""
    key = models.CharField(max_length=200, blank=True, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "id")
        indexes = [
            models.Index(fields=["project", "-created_at"], name="recording_by_time"),
            models.Index(fields=["project", "status", "created_at"], name="recording_by_status"),
        ]

    @property
    def seconds(self) -> float | None:
        """How long it lasts as far as it is known."""
        return self.samples / self.rate if self.samples is not None and self.rate else self.duration_s

    def place(self) -> str:
        """The storage key that its bytes go under: `<project>/<year>/<month>/<id>.<extension>`."""
        began: datetime = self.started_at or timezone.now()
        return f"{self.project_id}/{began:%Y/%m}/{self.pk}.{EXTENSIONS.get(self.media_type, 'bin')}"


@erased(recording="recording")
class Derived(ProjectOwned):
    """What was made of a recording when it was complete, so that nobody has to make it for each look."""

    limits = {
        "site": ("recording__site",),
        "device": ("recording__device",),
        "maker": ("recording__made_by", "recording__session__made_by"),
    }

    class Kind(models.TextChoices):
        PEAKS = "peaks"
        PLAYABLE = "playable"
        THUMBNAIL = "thumbnail"

    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="derived")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    media_type = models.CharField(max_length=100)
    store = models.CharField(max_length=40)
    key = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    made_by = models.CharField(max_length=200)
    """What made it, with its version."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("recording", "kind")
        constraints = [models.UniqueConstraint(fields=["recording", "kind"], name="derived_once_a_kind")]
