"""Campaigns as they are kept: what is annotated, who is asked, and each time somebody was."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ..ground.erasing import erased, kept
from ..ground.scoping import ProjectOwned
from ..scores.models import Metric, Rater, Target

MAX_NAME = 80
PRIME = 2_147_483_647
"""2³¹ − 1: what each annotator's own order is made by; see `CampaignAnnotator`."""


def _stride() -> int:
    return 1 + secrets.randbelow(PRIME - 1)


@kept("It is what was asked of whom; what was said is in the turns that its items name.")
class Campaign(ProjectOwned):
    """What is annotated, under which metrics, by how many. What was begun is never changed but in its annotators, its
    end and its status; metrics stay in the version that it began with."""

    class Status(models.TextChoices):
        OPEN = "open"
        PAUSED = "paused"
        CLOSED = "closed"

    name = models.CharField(max_length=MAX_NAME)
    content: models.JSONField[Any, Any] = models.JSONField(default=dict)
    """As it was stated, with what was drawn: all that makes it what it is."""
    of = models.CharField(max_length=10, choices=Target.choices)
    per_item = models.PositiveSmallIntegerField(default=2)
    """How many annotators each item gets: never fewer, never more."""
    blind = models.BooleanField(default=True)
    """Whether pipelines, components and others' scores are hidden from who annotates."""
    shuffled = models.BooleanField(default=True)
    """Whether each annotator has an order of their own; else all have that of the items."""
    repeats = models.FloatField(default=0.0)
    """Which share of the items an annotator is asked again, without being told."""
    lease_s = models.PositiveIntegerField(default=900)
    """How long an item waits for somebody who does nothing."""
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    until = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_campaign_a_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def asks(self) -> bool:
        """Whether anybody is given an item of it now."""
        return self.status == self.Status.OPEN and (self.until is None or timezone.now() < self.until)


@kept("It is a question.")
class CampaignMetric(ProjectOwned):
    """One metric of a campaign, in the version that it began with."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="metrics")
    metric = models.ForeignKey(Metric, on_delete=models.RESTRICT, related_name="campaigns")
    place = models.PositiveSmallIntegerField()
    asked_in = models.PositiveSmallIntegerField(default=1)
    """The pass in which it is asked."""

    class Meta:
        ordering = ("campaign", "asked_in", "place")
        constraints = [models.UniqueConstraint(fields=["campaign", "metric"], name="a_campaign_asks_a_metric_once")]

    def __str__(self) -> str:
        return str(self.metric)


@kept("It is of somebody who signs in, who is no participant by that.")
class CampaignAnnotator(ProjectOwned):
    """Who is asked. `stride` and `offset` make their own order of the items: by (place × stride + offset) modulo
    `PRIME`, which a database sorts by without anybody keeping the order."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="annotators")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    rater = models.ForeignKey(Rater, on_delete=models.RESTRICT, related_name="campaigns")
    stride = models.PositiveBigIntegerField(default=_stride, editable=False)
    offset = models.PositiveBigIntegerField(default=_stride, editable=False)
    added_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    """From then on they are asked nothing more; what they answered stays."""

    class Meta:
        ordering = ("campaign", "id")
        constraints = [models.UniqueConstraint(fields=["campaign", "rater"], name="a_rater_is_in_a_campaign_once")]

    def __str__(self) -> str:
        return str(self.rater)


def _of_turns(keys: Collection[str]) -> Q:
    found = Q(target=Target.TURN, target_id__in=keys) | Q(about__turn__in=list(keys))
    for key in keys:
        found |= Q(target=Target.PAIR, target_id__startswith=f"{key} ")
        found |= Q(target=Target.PAIR, target_id__endswith=f" {key}")
    return found


def _of_sessions(keys: Collection[str]) -> Q:
    return Q(target=Target.SESSION, target_id__in=keys) | Q(about__session__in=list(keys))


@erased(session=_of_sessions, turn=_of_turns)
class CampaignItem(ProjectOwned):
    """One thing that is annotated. `place` is drawn when the campaign begins."""

    class Kind(models.TextChoices):
        PLAIN = "plain"
        TRAINING = "training"
        GOLD = "gold"
        TRAP = "trap"

    CONTROLS = (Kind.GOLD, Kind.TRAP)
    """Mixed among the others, with answers that are known."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="items")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.PLAIN)
    place = models.PositiveIntegerField()
    target = models.CharField(max_length=10, choices=Target.choices)
    target_id = models.CharField(max_length=140)
    about: models.JSONField[Any, Any] = models.JSONField(default=dict)
    """Where it is found: `session` and `turn` of a turn; `turns` of a group or a pair."""
    expected: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """By metric, the answer that is known of it; empty for a plain one."""
    why: models.TextField[Any, Any] = models.TextField(blank=True)
    """What is said to somebody in training who answers otherwise."""

    class Meta:
        ordering = ("campaign", "place")
        constraints = [
            models.UniqueConstraint(fields=["campaign", "kind", "target", "target_id"], name="an_item_is_in_once"),
            models.UniqueConstraint(fields=["campaign", "place"], name="one_item_a_place"),
        ]

    def __str__(self) -> str:
        return f"{self.target} {self.target_id}"


@erased(session=lambda keys: Q(item__target=Target.SESSION, item__target_id__in=keys), turn="item__about__turn")
class Assignment(ProjectOwned):
    """That an item is, or is to be, with somebody in one pass. A plain item has one for each of the `per_item` that it
    is to get: free until somebody takes it, and theirs until they are done or were away for too long."""

    class Status(models.TextChoices):
        FREE = "free"
        LEASED = "leased"
        DONE = "done"
        SKIPPED = "skipped"
        LEFT = "left"
        """Somebody else has it now; what was begun is kept, and counts if they get it back."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="assignments")
    item = models.ForeignKey(CampaignItem, on_delete=models.CASCADE, related_name="assignments")
    asked_in = models.PositiveSmallIntegerField(default=1)
    number = models.PositiveSmallIntegerField(null=True, blank=True)
    """Which of the item's places it fills, from 1; none for one that fills none: training, controls, repeats, and those
    that were left or skipped."""
    occasion = models.PositiveSmallIntegerField(default=1)
    """2: the hidden repeat."""
    annotator = models.ForeignKey(
        CampaignAnnotator, null=True, blank=True, on_delete=models.CASCADE, related_name="assignments"
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.FREE)
    leased_until = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(default=0.0)
    """For which the page was worked in."""
    reason = models.TextField(blank=True)
    """Why it was skipped."""
    look_again = models.TextField(blank=True)
    """What a second person is to look at, in the annotator's words."""
    draft: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """What was entered and not yet handed in."""
    draft_version = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("campaign", "id")
        constraints = [
            models.UniqueConstraint(
                fields=["item", "asked_in", "number"], condition=Q(number__isnull=False), name="one_place_of_an_item"
            ),
            models.UniqueConstraint(
                fields=["item", "asked_in", "annotator", "occasion"],
                condition=Q(annotator__isnull=False),
                name="an_item_comes_to_somebody_once",
            ),
            models.UniqueConstraint(
                fields=["campaign", "annotator"], condition=Q(status="leased"), name="one_item_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(status="free", annotator=None) | (~Q(status="free") & Q(annotator__isnull=False)),
                name="what_is_free_is_with_nobody",
            ),
        ]
        indexes = [
            models.Index(fields=["campaign", "asked_in", "status"], name="assignment_by_status"),
            models.Index(fields=["annotator", "status"], name="assignment_by_annotator"),
        ]

    def __str__(self) -> str:
        return f"{self.item} ({self.status})"

    @property
    def holder(self) -> CampaignAnnotator:
        """Of one that is not free: who has it, or had it."""
        assert self.annotator is not None
        return self.annotator
