"""Experiments as they are kept: what is asked of which pipelines, and each cell of it."""

from __future__ import annotations

from typing import Any

from django.db import models

from ..datasets.models import DatasetSample, DatasetVersion
from ..ground.erasing import erased, kept
from ..ground.scoping import ProjectOwned

IMPORTED = "imported"
"""In the manifest of an experiment that came from elsewhere: what only its own server can tell."""


class Pace(models.TextChoices):
    REALTIME = "realtime"
    FAST = "fast"


@kept("It is what was asked of pipelines; what was said is in its dataset and its turns.")
class Experiment(ProjectOwned):
    """Samples × pipelines × repeats. What was begun is never changed; pipelines may be added."""

    class Status(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        CANCELLED = "cancelled"

    name = models.CharField(max_length=80)
    dataset = models.ForeignKey(DatasetVersion, on_delete=models.RESTRICT, related_name="experiments")
    seed = models.BigIntegerField(default=0)
    """What the order of the cells was drawn by."""
    pace = models.CharField(max_length=10, choices=Pace.choices, default=Pace.FAST)
    repeats = models.PositiveIntegerField(default=1)
    warm_up = models.PositiveIntegerField(default=1)
    """Cells of each pipeline that run first and count in nothing."""
    baseline = models.CharField(max_length=120)
    """The label of the pipeline that the others are compared with."""
    margins: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """By metric, the difference that was said beforehand not to matter."""
    given: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """By kind, `reference`: that stage's output is the sample's reference, and the pipeline runs from the next one."""
    metrics: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """Names of the metrics that are scored when it has run; empty: those that the dataset has references for."""
    player: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """Who plays the user: `kind` (recording, script, a plug-in's name) and `version`."""
    manifest: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """All that makes it what it is, with versions, as it stood when it was begun."""
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    emptied_at = models.DateTimeField(null=True, blank=True)
    """When its cancelling began to take its work out of the queue; null once that is done."""
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_experiment_a_name")]

    def __str__(self) -> str:
        return self.name


@kept("It is a pipeline under test.")
class ExperimentPipeline(ProjectOwned):
    """One pipeline of an experiment, by the hash that it had then."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="pipelines")
    place = models.PositiveIntegerField()
    label = models.CharField(max_length=120)
    """As it is called in the experiment: its name, with a part of its hash where two have the same."""
    name = models.CharField(max_length=80)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ("experiment", "place")
        constraints = [
            models.UniqueConstraint(fields=["experiment", "label"], name="one_pipeline_of_an_experiment_a_label"),
            models.UniqueConstraint(fields=["experiment", "hash"], name="one_pipeline_of_an_experiment_a_hash"),
        ]

    def __str__(self) -> str:
        return self.label


@erased(participant="sample__utterances__participant", recording="sample__utterances__recording")
class Cell(ProjectOwned):
    """One sample through one pipeline, once. Its turns name it in their `cell`."""

    class Status(models.TextChoices):
        PLANNED = "planned"
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    OVER = (Status.DONE, Status.FAILED)
    """Of those that have a result."""
    LEFT = (Status.FAILED, Status.CANCELLED)
    """Of those that nothing more comes of, whatever is missing."""

    id = models.CharField(primary_key=True, max_length=32, editable=False)
    """Follows from the experiment, the sample, the pipeline and the repeat."""
    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="cells")
    pipeline = models.ForeignKey(ExperimentPipeline, on_delete=models.CASCADE, related_name="cells")
    sample = models.ForeignKey(DatasetSample, on_delete=models.CASCADE, related_name="cells")
    repeat = models.PositiveIntegerField()
    """From 1; 0 is warm-up, which counts in nothing."""
    order = models.PositiveIntegerField()
    """When its turn is: drawn by the experiment's seed."""
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PLANNED)
    reason = models.TextField(blank=True)
    session = models.CharField(max_length=64, blank=True)
    """The session of the run that counts."""
    attempt = models.PositiveIntegerField(default=0)
    """How often it was run: again when it was cancelled, or a person took its machine."""
    disturbed = models.PositiveIntegerField(default=0)
    """How often somebody else's conversation came in between."""
    played: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """At real-time pace, what its caller measured: its name, and `turns`, a `records.CalledRecord` each."""
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("experiment", "order")
        constraints = [
            models.UniqueConstraint(fields=["experiment", "pipeline", "sample", "repeat"], name="one_cell_a_place")
        ]
        indexes = [models.Index(fields=["experiment", "status", "order"], name="cell_by_status")]

    def __str__(self) -> str:
        return f"{self.sample} × {self.pipeline} × {self.repeat}"
