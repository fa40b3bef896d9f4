from __future__ import annotations

from typing import Any

from django.db import models, transaction

from ..accounts.models import User
from ..ground.erasing import kept
from ..ground.scoping import ProjectOwned


@kept("It is what a conversation goes through, whoever is heard.")
class Pipeline(ProjectOwned):
    """A named pipeline of a project. Without a `current` version it is a built-in one that ran here."""

    name = models.CharField(max_length=80)
    description = models.TextField(blank=True)
    current = models.ForeignKey(
        "PipelineVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_pipeline_a_name")]

    def __str__(self) -> str:
        return self.name


@kept("It is what conversations went through, whoever was heard.")
class PipelineVersion(ProjectOwned):
    """One content of a pipeline: a row for each distinct hash, numbered from 1."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    hash = models.CharField(max_length=64)
    spec: models.JSONField[Any, Any] = models.JSONField()
    text = models.TextField(blank=True, help_text="The YAML as it was written.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    """None where a device or an agent brought it along, or the person has gone."""

    class Meta:
        ordering = ("pipeline", "-number")
        constraints = [
            models.UniqueConstraint(fields=["pipeline", "hash"], name="one_version_a_hash"),
            models.UniqueConstraint(fields=["pipeline", "number"], name="one_version_a_number"),
        ]
        indexes = [models.Index(fields=["project", "hash"], name="version_by_hash")]

    def __str__(self) -> str:
        return f"v{self.number} {self.hash[:12]}"


def version_of(
    project_id: str,
    name: str,
    hash: str,
    spec: dict[str, Any],
    text: str = "",
    description: str = "",
    by: int | None = None,
) -> PipelineVersion:
    """The version with this hash, made when it is new, `by` the user with this id. Safe to call again and at once from
    several processes."""
    with transaction.atomic():
        pipeline, _ = Pipeline.objects.get_or_create(
            project_id=project_id, name=name, defaults={"description": description}
        )
        # The row's lock keeps two writers from taking the same number; SQLite has one writer anyway.
        Pipeline.objects.select_for_update().get(pk=pipeline.pk)
        version: PipelineVersion | None = pipeline.versions.filter(hash=hash).first()
        if version is None:
            last = pipeline.versions.aggregate(models.Max("number"))["number__max"] or 0
            version = pipeline.versions.create(
                project_id=project_id, number=last + 1, hash=hash, spec=spec, text=text, created_by_id=by
            )
        return version
