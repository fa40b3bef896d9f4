"""Datasets as they are kept: frozen versions, their samples, and what is said in these. Media are recordings."""

from __future__ import annotations

from typing import Any

from django.db import models

from ..ground.erasing import erased, kept
from ..ground.scoping import ProjectOwned


@kept("It is a name, and holds nothing that a person said.")
class Dataset(ProjectOwned):
    """A name; what it names are its versions."""

    name = models.CharField(max_length=80)
    draft = models.BooleanField(default=False, editable=False)
    """It is still being sent, under a name that its sender made: nobody sees it until it is frozen."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_dataset_a_name")]

    def __str__(self) -> str:
        return self.name


@kept("It counts what its samples hold, and they are erased.")
class DatasetVersion(ProjectOwned):
    """A frozen list of samples; what was changed is the next version."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    hash = models.CharField(max_length=64)
    """`openomni.datasets.dataset_hash` of what it was made of."""
    samples = models.PositiveIntegerField()
    """How many it was made of; fewer rows are there where somebody was erased since."""
    seconds = models.FloatField(default=0.0)
    """Of sound, all utterances together."""
    source = models.TextField(blank=True)
    """What it was made of: a path and a format, a filter of turns, sessions."""
    derived_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="derived")
    derivation: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """What was done to those samples: the kind of noise, at which ratio, from which seed."""
    sheet: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    """The data sheet: hours, speakers, languages, consent, how many references of each kind."""
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("dataset", "-number")
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="one_dataset_version_a_number"),
            models.UniqueConstraint(fields=["dataset", "hash"], name="one_dataset_version_a_hash"),
        ]

    def __str__(self) -> str:
        return f"{self.dataset} {self.number}"


@erased(participant="utterances__participant", recording="utterances__recording")
class DatasetSample(ProjectOwned):
    """One sample of a version. `content` is an `openomni.datasets.Sample` as JSON; its paths are ids of recordings."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="rows")
    position = models.PositiveIntegerField()
    sample_id = models.CharField(max_length=200)
    group = models.CharField(max_length=200, blank=True)
    """What it shares with others: a cluster in statistics."""
    hash = models.CharField(max_length=64)
    seconds = models.FloatField(default=0.0)
    needs_realtime = models.BooleanField(default=False)
    pair = models.CharField(max_length=200, blank=True)
    """Of a derived version: the id of the sample that it was made of."""
    content: models.JSONField[Any, Any] = models.JSONField()

    class Meta:
        ordering = ("version", "position")
        constraints = [models.UniqueConstraint(fields=["version", "sample_id"], name="one_sample_an_id")]

    def __str__(self) -> str:
        return self.sample_id


@erased(participant="participant", recording="recording")
class DatasetUtterance(ProjectOwned):
    """Where an utterance of a sample is heard, so that it is found by its recording and by who speaks."""

    sample = models.ForeignKey(DatasetSample, on_delete=models.CASCADE, related_name="utterances")
    index = models.PositiveIntegerField()
    recording = models.CharField(max_length=64)
    participant = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("sample", "index")
        indexes = [models.Index(fields=["recording"], name="utterance_by_recording")]
        constraints = [models.UniqueConstraint(fields=["sample", "index"], name="one_utterance_a_place")]

    def __str__(self) -> str:
        return f"{self.sample} {self.index}"
