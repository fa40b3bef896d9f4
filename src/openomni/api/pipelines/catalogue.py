"""Which pipelines a project has: its own ones, and those that come with OpenOmni."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db.models import QuerySet

from ...pipeline import spec as pipeline_spec
from ..ground.errors import not_found
from .models import Pipeline, PipelineVersion


@dataclass(frozen=True, slots=True)
class Found:
    """A pipeline by name, as it is stored. `version` is its number in the project; a built-in one has none."""

    name: str
    description: str
    hash: str
    spec: dict[str, Any]
    version: int | None = None
    text: str = ""

    @property
    def pipeline(self) -> pipeline_spec.Pipeline:
        """Raises `PipelineError` for what an older version stored and this one can't read."""
        return pipeline_spec.parse(self.spec, self.name)


@cache
def builtin() -> Mapping[str, Found]:
    return {
        name: Found(
            name, pipeline.description, pipeline.hash, pipeline.normalised(), text=pipeline_spec.builtin_text(name)
        )
        for name, pipeline in pipeline_spec.builtin().items()
    }


def everything(project_id: str) -> list[Found]:
    """All pipelines of the project by name, the built-in ones included."""
    found = {**builtin(), **{row.name: _found(row) for row in _own(project_id)}}
    return [found[name] for name in sorted(found)]


def find(project_id: str, name: str) -> Found:
    """Raises `Refusal` (404) with the nearest name."""
    row = _own(project_id).filter(name=name).first()
    if row is None and name not in builtin():
        not_found("pipeline", name, [found.name for found in everything(project_id)])
    return _found(row) if row else builtin()[name]


def find_version(project_id: str, named: str) -> Found:
    """By its name as it is now, or `name@hash` as it was. Raises `Refusal` (404)."""
    name, _, hash = named.partition("@")
    if not hash:
        return find(project_id, name)
    if name in builtin() and builtin()[name].hash == hash:
        return builtin()[name]
    version = PipelineVersion.objects.filter(project_id=project_id, pipeline__name=name, hash=hash).first()
    if version is None:
        not_found("version of a pipeline", named)
    return Found(name, version.pipeline.description, version.hash, version.spec, version.number, version.text)


def _own(project_id: str) -> QuerySet[Pipeline]:
    rows: QuerySet[Pipeline] = Pipeline.objects.filter(project_id=project_id, current__isnull=False)
    return rows.select_related("current")


def _found(row: Pipeline) -> Found:
    version = row.current
    assert version is not None
    return Found(row.name, row.description, version.hash, version.spec, version.number, version.text)
