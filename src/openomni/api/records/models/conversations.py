"""Conversations: sessions, turns, who spoke when, and the items that a model is told.

All `_s` fields are seconds; those of a turn count from its last user speech sample.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import models

from ...ground.erasing import Subject, erased
from ...ground.scoping import ProjectOwned


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


def _with_reruns(keys: Collection[str]) -> models.Q:
    """These sessions, and those in which their turns are run again: what is said there was said here."""
    return models.Q(pk__in=keys) | models.Q(origin="reprocess", source__in=[f"session:{key}" for key in keys])


@erased(Subject.SESSION, participant="participant", session=_with_reruns)
class Session(Recorded):
    """One live or replayed conversation of a device through a pipeline.

    Without a pipeline it is a placeholder: something of it came before the session itself did.
    """

    limits = {"site": ("site",), "device": ("device",), "maker": ("made_by",)}

    class Status(models.TextChoices):
        OPEN = "open"
        CLOSED = "closed"
        LOST = "lost"

    pipeline = models.CharField(max_length=80, blank=True)
    pipeline_hash = models.CharField(max_length=64, blank=True)
    spec: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    site = models.CharField(max_length=40, blank=True)
    device = models.CharField(max_length=40, blank=True)
    made_by = models.CharField(max_length=200, blank=True, editable=False)
    """The id of the token that it was opened with."""
    source = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    reason = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    recordings: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    tracks: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """`records.PlacedRecording`s: its recordings, each with its place on the axis."""
    origin = models.CharField(max_length=12, default="person")
    participant = models.CharField(max_length=200, blank=True)
    consent = models.CharField(max_length=200, blank=True)
    """What the participant had agreed to when it was recorded."""
    context = models.TextField(blank=True)
    """A note: the place, the task, who is there."""
    turn_taking: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """What its device set otherwise than the pipeline has it."""
    queued = models.BooleanField(default=False, editable=False)
    """Its turns were queued on a recording: nobody hosts it, and it is over when they are."""

    class Meta:
        ordering = ("-created_at", "id")
        indexes = [models.Index(fields=["project", "-created_at"], name="session_by_time")]


@erased(Subject.TURN, participant=("participant", "segments__participant"), session="session", turn=("pk", "reruns"))
class Turn(Recorded):
    """One user utterance and the response to it. `recording` and `reply_audio` are ids of recordings."""

    limits = {"site": ("session__site",), "device": ("session__device",), "maker": ("session__made_by",)}

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
    """`records.DismissedRecord`s: what the person said during the reply without taking the word."""
    utterance_hash = models.CharField(max_length=64, blank=True)
    """What pairs it with other runs of the same utterance."""
    reruns = models.CharField(max_length=64, blank=True)
    """The turn whose utterance it runs again."""
    origin = models.CharField(max_length=12, default="person")
    live = models.BooleanField(default=True)
    warm = models.BooleanField(null=True)
    cell = models.CharField(max_length=64, blank=True)
    participant = models.CharField(max_length=200, blank=True)
    language = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=12, blank=True)
    overlap_s = models.FloatField(null=True, blank=True)
    yield_s = models.FloatField(null=True, blank=True)
    frames: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """`records.FrameRecord`s: the pictures that its models got."""
    items: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """Ids of the items that its language model got, oldest first."""
    utterance: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """A `records.UtteranceRecord`: where its sound is."""
    asked: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """A `records.AskedRecord`: what was asked for otherwise than the pipeline has it."""
    given: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """By kind, the stages whose output was given rather than made: `recorded` or `corrected`."""

    class Meta:
        ordering = ("-created_at", "-index", "id")
        indexes = [
            models.Index(fields=["project", "utterance_hash"], name="turn_by_utterance"),
            models.Index(fields=["reruns"], condition=~models.Q(reruns=""), name="turn_by_what_it_reruns"),
            models.Index(fields=["cell"], condition=~models.Q(cell=""), name="turn_by_cell"),
            models.Index(fields=["project", "-created_at"], name="turn_by_time"),
            models.Index(fields=["session", "index"], name="turn_by_place"),
            models.Index(fields=["project", "status", "-created_at"], name="turn_by_status"),
        ]


@erased(participant="participant", session="session", turn="turn")
class Segment(ProjectOwned):
    """Who speaks from when to when: samples on the session's axis (16 kHz). Segments may overlap."""

    limits = {"site": ("session__site",), "device": ("session__device",), "maker": ("session__made_by",)}

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="segments")
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="segments")
    speaker = models.CharField(max_length=200, blank=True)
    start = models.BigIntegerField()
    end = models.BigIntegerField()
    track = models.CharField(max_length=64, blank=True)
    """The recording that it was heard in."""
    participant = models.CharField(max_length=200, blank=True)
    consent = models.CharField(max_length=200, blank=True)
    """What they had agreed to when it was recorded."""
    confidence = models.FloatField(null=True, blank=True)
    source = models.CharField(max_length=200, blank=True)
    """Who says where it begins and ends."""

    class Meta:
        ordering = ("start", "id")

    def __str__(self) -> str:
        return f"{self.speaker} {self.start}–{self.end}"


@erased(session="session", turn="turn_id")
class Item(ProjectOwned):
    """An item of a conversation, kept once, as it was heard; turns say by its id that their models got it."""

    limits = {"site": ("session__site",), "device": ("session__device",), "maker": ("session__made_by",)}

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="items")
    item_id = models.CharField(max_length=200)
    version = models.PositiveBigIntegerField(default=0, editable=False)
    position = models.BigIntegerField(default=0)
    role = models.CharField(max_length=10)
    content = models.TextField(blank=True)
    turn_id = models.CharField(max_length=64, blank=True)
    recording = models.CharField(max_length=64, blank=True)
    start = models.BigIntegerField(default=0)
    end = models.BigIntegerField(default=0)
    pictures: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    tool_calls: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    call_id = models.CharField(max_length=200, blank=True)
    gone = models.BooleanField(default=False)

    class Meta:
        ordering = ("session", "position", "id")
        constraints = [models.UniqueConstraint(fields=["session", "item_id"], name="an_item_is_kept_once")]

    def __str__(self) -> str:
        return f"{self.role}: {self.content[:60]}"
