"""What was done for a turn, on what, and when. `_s` fields are seconds from the turn's last user speech sample."""

from __future__ import annotations

from typing import Any

from django.db import models

from ...ground.erasing import erased, kept
from ...ground.scoping import ProjectOwned
from .conversations import Progress, Session, Turn


@erased(session="session", turn="turn")
class Task(ProjectOwned):
    """One stage of one turn in one revision of it; its times are those of the attempt that counted. What a session did
    beside its turns, such as a judgement of a pause that was none, is a task of the session and of no turn."""

    limits = {
        "site": ("turn__session__site", "session__site"),
        "device": ("turn__session__device", "session__device"),
        "maker": ("turn__session__made_by", "session__made_by"),
    }

    turn = models.ForeignKey(Turn, null=True, blank=True, on_delete=models.CASCADE, related_name="tasks")
    session = models.ForeignKey(Session, null=True, blank=True, on_delete=models.CASCADE, related_name="tasks")
    """Where there is no turn; that of a turn is the turn's."""
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
    build = models.CharField(max_length=64, blank=True, db_index=True)
    """The hash of the `Build` that it ran on."""
    seed = models.BigIntegerField(null=True, blank=True)
    usage: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """A `records.UsageRecord`: what it consumed."""

    class Meta:
        ordering = ("turn", "place", "id")
        constraints = [
            models.UniqueConstraint(fields=["turn", "task_id"], name="a_task_is_recorded_once"),
            models.CheckConstraint(
                condition=models.Q(turn=None, session__isnull=False) | models.Q(turn__isnull=False, session=None),
                name="a_task_is_of_a_turn_or_of_a_session",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "status"], name="task_by_status"),
            models.Index(fields=["project", "agent", "-id"], name="task_by_agent"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}:{self.component}"


@erased(session="task__session", turn="task__turn")
class Attempt(ProjectOwned):
    """One try of a task on one agent."""

    limits = {
        "site": ("task__turn__session__site", "task__session__site"),
        "device": ("task__turn__session__device", "task__session__device"),
        "maker": ("task__turn__session__made_by", "task__session__made_by"),
    }

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    agent = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12, choices=Progress.choices)
    reason = models.TextField(blank=True)
    started_s = models.FloatField(null=True, blank=True)
    ended_s = models.FloatField(null=True, blank=True)
    build = models.CharField(max_length=64, blank=True)
    """The hash of the `Build` that it ran on."""
    seed = models.BigIntegerField(null=True, blank=True)
    usage: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """A `records.UsageRecord`: what it consumed."""

    class Meta:
        ordering = ("task", "number")
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="an_attempt_is_recorded_once")]

    def __str__(self) -> str:
        return f"attempt {self.number}"


@erased(turn="turn")
class TimePoint(ProjectOwned):
    """An instant on a turn's timeline, give or take `uncertainty_s`; `where` names the process that saw it."""

    limits = {
        "site": ("turn__session__site",),
        "device": ("turn__session__device",),
        "maker": ("turn__session__made_by",),
    }

    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="time_points")
    name = models.CharField(max_length=200)
    at_s = models.FloatField()
    where = models.CharField(max_length=200, blank=True)
    uncertainty_s = models.FloatField(default=0.0)

    class Meta:
        ordering = ("at_s", "id")

    def __str__(self) -> str:
        return f"{self.name} {self.at_s:.3f} s"


@kept("It is what tasks ran on, whoever was heard.")
class Build(ProjectOwned):
    """What tasks ran on, by the hash of its content: what has to be the same for them to be run again."""

    hash = models.CharField(max_length=64)
    kind = models.CharField(max_length=200)
    component = models.CharField(max_length=200)
    package = models.CharField(max_length=200, blank=True)
    package_version = models.CharField(max_length=200, blank=True)
    content: models.JSONField[Any, Any] = models.JSONField(default=dict)
    """The whole `records.BuildRecord`."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = [models.UniqueConstraint(fields=["project", "hash"], name="a_build_is_kept_once")]

    def __str__(self) -> str:
        return f"{self.kind}:{self.component} {self.hash[:8]}"
