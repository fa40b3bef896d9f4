"""Conversations as recorded, with their recordings. All `_s` fields are seconds; those of a turn count from its last
user speech sample."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone

from ..ground.scoping import ProjectOwned
from .media_types import EXTENSIONS


class Progress(models.TextChoices):
    """How far a turn, a task or an attempt is. Superseded: another revision or run took its place."""

    PENDING = "pending"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


UNFINISHED = (Progress.PENDING, Progress.STARTED)


class Recorded(ProjectOwned):
    """A row kept by whole snapshots: `version` is that of the newest one written, 0 before the first."""

    id = models.CharField(primary_key=True, max_length=64, editable=False)
    version = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)[:12]


class Session(Recorded):
    """One live or replayed conversation of a device through a pipeline.

    Without a pipeline it is a placeholder: something of it came before the session itself did.
    """

    limits = {"site": ("site",), "device": ("device",)}

    class Status(models.TextChoices):
        OPEN = "open"
        CLOSED = "closed"
        LOST = "lost"

    pipeline = models.CharField(max_length=80, blank=True)
    pipeline_hash = models.CharField(max_length=64, blank=True)
    spec: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    site = models.CharField(max_length=40, blank=True)
    device = models.CharField(max_length=40, blank=True)
    source = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    reason = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    recordings: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    queued = models.BooleanField(default=False, editable=False)
    """Its turns were queued on a recording: nobody hosts it, and it is over when they are."""

    class Meta:
        ordering = ("-created_at", "id")
        indexes = [models.Index(fields=["project", "-created_at"], name="session_by_time")]


class Turn(Recorded):
    """One user utterance and the response to it. `recording` and `reply_audio` are ids of recordings."""

    limits = {"site": ("session__site",), "device": ("session__device",)}

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="turns")
    index = models.PositiveIntegerField()
    pipeline = models.CharField(max_length=80, blank=True)
    pipeline_hash = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=12, choices=Progress.choices, default=Progress.STARTED)
    reason = models.TextField(blank=True)
    transcript = models.TextField(blank=True)
    reply_text = models.TextField(blank=True)
    reply_audio = models.CharField(max_length=64, blank=True)
    recording = models.CharField(max_length=64, blank=True)
    voice_to_voice_s = models.FloatField(null=True, blank=True)
    heard_at = models.CharField(max_length=10, blank=True)
    residue_s = models.FloatField(null=True, blank=True)
    interrupted = models.BooleanField(default=False)
    started_at = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(null=True, blank=True, editable=False)
    """When the bus took it as work; None for a live turn, and for one that is still to be handed over."""
    parts: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """The partition: `trace.Part`s, oldest first."""
    pauses: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """`records.PauseRecord`s, oldest first."""
    dismissed: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """`records.DismissedRecord`s, oldest first."""

    class Meta:
        ordering = ("-created_at", "-index", "id")
        indexes = [
            models.Index(fields=["project", "-created_at"], name="turn_by_time"),
            models.Index(fields=["session", "index"], name="turn_by_place"),
            models.Index(fields=["project", "status", "-created_at"], name="turn_by_status"),
        ]


class Segment(ProjectOwned):
    """Who speaks from when to when: samples on the session's axis (16 kHz). Segments may overlap."""

    limits = {"site": ("session__site",), "device": ("session__device",)}

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="segments")
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="segments")
    speaker = models.CharField(max_length=200, blank=True)
    start = models.BigIntegerField()
    end = models.BigIntegerField()

    class Meta:
        ordering = ("start", "id")

    def __str__(self) -> str:
        return f"{self.speaker} {self.start}–{self.end}"


class Task(ProjectOwned):
    """One stage of one turn in one revision of it; its times are those of the attempt that counted."""

    limits = {"site": ("turn__session__site",), "device": ("turn__session__device",)}

    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="tasks")
    task_id = models.CharField(max_length=64)
    place = models.PositiveIntegerField(default=0)
    """Where it stands among the stages of the turn."""
    kind = models.CharField(max_length=40)
    component = models.CharField(max_length=200)
    revision = models.PositiveIntegerField(default=0)
    agent = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12, choices=Progress.choices, default=Progress.PENDING)
    reason = models.TextField(blank=True)
    queue_s = models.FloatField(null=True, blank=True)
    lost_s = models.FloatField(null=True, blank=True)
    transfer_s = models.FloatField(null=True, blank=True)
    load_s = models.FloatField(null=True, blank=True)
    model_s = models.FloatField(null=True, blank=True)
    ttfb_s = models.FloatField(null=True, blank=True)
    started_s = models.FloatField(null=True, blank=True)
    ended_s = models.FloatField(null=True, blank=True)
    output: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("turn", "place", "id")
        constraints = [models.UniqueConstraint(fields=["turn", "task_id"], name="a_task_is_recorded_once")]
        indexes = [models.Index(fields=["project", "status"], name="task_by_status")]

    def __str__(self) -> str:
        return f"{self.kind}:{self.component}"


class Attempt(ProjectOwned):
    """One try of a task on one agent."""

    limits = {"site": ("task__turn__session__site",), "device": ("task__turn__session__device",)}

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    agent = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12, choices=Progress.choices)
    reason = models.TextField(blank=True)
    started_s = models.FloatField(null=True, blank=True)
    ended_s = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ("task", "number")
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="an_attempt_is_recorded_once")]

    def __str__(self) -> str:
        return f"attempt {self.number}"


class TimePoint(ProjectOwned):
    """An instant on a turn's timeline, give or take `uncertainty_s`; `where` names the process that saw it."""

    limits = {"site": ("turn__session__site",), "device": ("turn__session__device",)}

    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="time_points")
    name = models.CharField(max_length=200)
    at_s = models.FloatField()
    where = models.CharField(max_length=200, blank=True)
    uncertainty_s = models.FloatField(default=0.0)

    class Meta:
        ordering = ("at_s", "id")

    def __str__(self) -> str:
        return f"{self.name} {self.at_s:.3f} s"


class Recording(Recorded):
    """A media file as captured, or a reply as spoken. Its id is made by who captured it.

    The row may be there before the first byte: somebody told of it, and the bytes are on their way.
    """

    limits = {"site": ("site", "session__site"), "device": ("device", "session__device")}

    class Kind(models.TextChoices):
        AUDIO = "audio"
        VIDEO = "video"
        REPLY = "reply"

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
    source = models.TextField(blank=True)
    rate = models.PositiveIntegerField(null=True, blank=True)
    samples = models.PositiveBigIntegerField(null=True, blank=True)
    position = models.PositiveBigIntegerField(default=0)
    """Where its first sample lies on the session's axis (samples at 16 kHz)."""
    received = models.PositiveBigIntegerField(default=0)
    """Bytes on disk so far."""
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.AWAITED)
    sha256 = models.CharField(max_length=64, blank=True)
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
        return self.samples / self.rate if self.samples is not None and self.rate else None

    def place(self) -> str:
        """The storage key that its bytes go under: `<project>/<year>/<month>/<id>.<extension>`."""
        began: datetime = self.started_at or timezone.now()
        return f"{self.project_id}/{began:%Y/%m}/{self.pk}.{EXTENSIONS.get(self.media_type, 'bin')}"
