"""What people put on turns and sessions, and what is left of those that were erased."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from ...ground.erasing import erased, kept
from ...ground.scoping import ProjectOwned
from .conversations import Session, Turn


@kept("It is the project's own word; what bears it is in Tagged.")
class Tag(ProjectOwned):
    """A label of turns or sessions; an `ordered` one is a group whose members have their places."""

    name = models.CharField(max_length=80)
    ordered = models.BooleanField(default=False)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_tag_a_name")]

    def __str__(self) -> str:
        return self.name


@erased(session="session", turn="turn")
class Tagged(ProjectOwned):
    """A turn or a session that bears a tag; `place` is its place in an ordered one."""

    limits = {
        "site": ("turn__session__site", "session__site"),
        "device": ("turn__session__device", "session__device"),
        "maker": ("turn__session__made_by", "session__made_by"),
    }

    tag = models.ForeignKey(Tag, on_delete=models.CASCADE, related_name="members")
    turn = models.ForeignKey(Turn, null=True, blank=True, on_delete=models.CASCADE, related_name="tags")
    session = models.ForeignKey(Session, null=True, blank=True, on_delete=models.CASCADE, related_name="tags")
    place = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("tag", "place", "id")
        constraints = [
            models.UniqueConstraint(fields=["tag", "turn"], name="a_turn_bears_a_tag_once"),
            models.UniqueConstraint(fields=["tag", "session"], name="a_session_bears_a_tag_once"),
            models.UniqueConstraint(fields=["tag", "place"], name="one_member_a_place"),
            models.CheckConstraint(
                condition=models.Q(turn=None, session__isnull=False) | models.Q(turn__isnull=False, session=None),
                name="a_tag_is_on_a_turn_or_on_a_session",
            ),
        ]


@kept("It says that something was erased, and nothing of what it was.")
class Tombstone(ProjectOwned):
    """That something was erased, and nothing of what it was: a record of it that comes late is left out."""

    class Kind(models.TextChoices):
        SESSION = "session"
        TURN = "turn"
        RECORDING = "recording"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    key = models.CharField(max_length=64)
    erased_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-erased_at", "-id")
        constraints = [models.UniqueConstraint(fields=["project", "kind", "key"], name="erased_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
