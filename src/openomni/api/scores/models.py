"""Scores of any target under any metric. Nothing here is ever replaced: who scores again adds a revision."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Cast

from ..ground.erasing import erased, kept
from ..ground.scoping import ProjectOwned
from ..records.models import Segment, Task


class Target(models.TextChoices):
    """What can be scored. `repeats`: all runs of one sample through one pipeline; `pair`: two turns, side by side;
    `group`: the turns of one pipeline that bear a tag."""

    TURN = "turn"
    TASK = "task"
    SEGMENT = "segment"
    SESSION = "session"
    DIALOGUE = "dialogue"
    SAMPLE = "sample"
    CELL = "cell"
    REPEATS = "repeats"
    PAIR = "pair"
    GROUP = "group"


@kept("It is what is scored, whoever said it.")
class Metric(ProjectOwned):
    """What is scored, in one version: another version is another row, and its scores are never mixed with these."""

    class Better(models.TextChoices):
        HIGHER = "higher"
        LOWER = "lower"
        NEITHER = ""

    class Level(models.TextChoices):
        """Of measurement, which says what agreement and averages mean."""

        NOMINAL = "nominal"
        ORDINAL = "ordinal"
        INTERVAL = "interval"
        RATIO = "ratio"

    name = models.CharField(max_length=80)
    version = models.CharField(max_length=80)
    takes = models.CharField(max_length=10, choices=Target.choices, default=Target.TURN)
    unit = models.CharField(max_length=20, blank=True)
    better = models.CharField(max_length=10, choices=Better.choices, default=Better.HIGHER, blank=True)
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.RATIO)
    low = models.FloatField(null=True, blank=True)
    high = models.FloatField(null=True, blank=True)
    description = models.TextField(blank=True)
    parameters: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """What belongs to its version: a normaliser, a recogniser and its build, a question and its answers."""
    rated = models.BooleanField(default=False)
    """Whether people and judges answer it; else programs measure it."""
    stated_at = models.DateTimeField(null=True, blank=True)
    """When somebody last asked for this version of a question: of a name, the newest is the one that is asked."""
    retired_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "created_at", "id")
        constraints = [models.UniqueConstraint(fields=["project", "name", "version"], name="one_metric_a_version")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@kept("It is who gives scores, who is no participant by that.")
class Rater(ProjectOwned):
    """Who gives scores: a person, a judge (a model), or a program. A judge of another build is another rater."""

    class Kind(models.TextChoices):
        PERSON = "person"
        JUDGE = "judge"
        PROGRAM = "program"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    name = models.CharField(max_length=200)
    version = models.CharField(max_length=80, blank=True)
    """Of a judge its build, of a program its version; empty for a person."""
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("kind", "name", "id")
        constraints = [
            models.UniqueConstraint(fields=["project", "kind", "name", "version"], name="one_rater_a_version"),
            models.UniqueConstraint(fields=["project", "user"], condition=~Q(user=None), name="one_rater_a_person"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


class Outcome(models.TextChoices):
    """What became of the attempt to score: an error is an outcome, never a row that is missing."""

    SCORED = "scored"
    NOT_APPLICABLE = "not_applicable", "not applicable"
    UNPARSED = "unparsed"
    FAILED = "failed"
    SKIPPED = "skipped"


def _of_turns(keys: Collection[str]) -> Q:
    """Scores of these turns, of pairs with one of them, and of what they are made of."""
    tasks = Task.objects.filter(turn__in=keys).values("task_id")
    segments = Segment.objects.filter(turn__in=keys).annotate(key=Cast("pk", models.CharField())).values("key")
    scored = Q(target=Target.TURN, target_id__in=keys)
    scored |= Q(target=Target.TASK, target_id__in=tasks) | Q(target=Target.SEGMENT, target_id__in=segments)
    pairs = Q()
    for key in keys:
        pairs |= Q(target_id__startswith=f"{key} ") | Q(target_id__endswith=f" {key}")
    return scored | Q(pairs, target=Target.PAIR)


def _of_sessions(keys: Collection[str]) -> Q:
    """Scores of these sessions, and of what was done beside their turns."""
    tasks = Task.objects.filter(session__in=keys).values("task_id")
    return Q(target__in=(Target.SESSION, Target.DIALOGUE), target_id__in=keys) | Q(
        target=Target.TASK, target_id__in=tasks
    )


@erased(session=_of_sessions, turn=_of_turns)
class Score(ProjectOwned):
    """What one rater said of one target under one metric; `revision` counts what they said of it, the highest stands.

    A number is in `value`, a label or a text in `label`; both are empty unless the outcome is `scored`.
    """

    metric = models.ForeignKey(Metric, on_delete=models.RESTRICT, related_name="scores")
    rater = models.ForeignKey(Rater, on_delete=models.RESTRICT, related_name="scores")
    target = models.CharField(max_length=10, choices=Target.choices)
    target_id = models.CharField(max_length=140)
    """The id of what is scored; of a pair, both ids with a blank between, in the order in which they were shown."""
    occasion = models.CharField(max_length=64, blank=True)
    """When the rater was asked, where the same may be asked them again: a campaign, and the repeat in it."""
    revision = models.PositiveIntegerField(default=1)
    outcome = models.CharField(max_length=14, choices=Outcome.choices)
    value = models.FloatField(null=True, blank=True)
    label = models.CharField(max_length=200, blank=True)
    reason = models.TextField(blank=True)
    """Why it was not scored, or what a rater wrote to it."""
    detail: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """What else came of it: counts of errors behind a rate, a judge's words, seconds that it took."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = [
            models.UniqueConstraint(
                fields=["metric", "rater", "target", "target_id", "occasion", "revision"],
                name="a_score_is_never_replaced",
            ),
            models.CheckConstraint(
                condition=(Q(outcome=Outcome.SCORED) & (Q(value__isnull=False) | ~Q(label="")))
                | (~Q(outcome=Outcome.SCORED) & Q(value=None, label="")),
                name="what_was_scored_has_a_value",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "target", "target_id"], name="score_by_target"),
            models.Index(fields=["project", "metric", "-created_at"], name="score_by_metric"),
        ]

    def __str__(self) -> str:
        said = self.label if self.value is None else f"{self.value:g}"
        return f"{self.metric}: {said or self.get_outcome_display()}"
