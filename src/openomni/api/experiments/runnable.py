"""Which pipelines of an experiment somebody can run now, and what keeps the others from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from ...errors import OpenOmniError
from ...pipeline import spec
from ..fleet import components
from ..fleet.models import Agent
from ..fleet.placing import Placing
from ..pipelines.models import PipelineVersion
from . import playing
from .models import Experiment, Pace


@dataclass(frozen=True, slots=True)
class Runnable:
    """By the rows' ids: the pipelines that can be run, and of the others why they can't, a line each."""

    pipelines: dict[int, spec.Pipeline]
    held_up: dict[int, list[str]]
    hosts: list[Agent]

    @classmethod
    def now(cls, experiment: Experiment) -> Self:
        project = experiment.project_id
        rows = list(experiment.pipelines.all())
        specs = PipelineVersion.objects.filter(project_id=project, hash__in=[each.hash for each in rows])
        contents: dict[str, dict[str, Any]] = dict(specs.values_list("hash", "spec"))
        known, placing = components.schemas(project), Placing.now(project)
        fast = experiment.pace == Pace.FAST
        nobody = [] if fast else playing.missing(project, playing.choice_of(experiment))
        parsed: dict[int, spec.Pipeline] = {}
        held_up: dict[int, list[str]] = {}
        for each in rows:
            try:
                pipeline = spec.parse(contents[each.hash], each.name)
                lines = placing.unplaced(pipeline, known) + nobody
            except (KeyError, OpenOmniError) as error:
                lines = [f"the pipeline {each.label} can't be read any more: {error}"]
            if lines:
                held_up[each.pk] = lines
            else:
                parsed[each.pk] = pipeline
        return cls(parsed, held_up, placing.hosts)


def can_run(project_id: str, digest: str, name: str) -> bool:
    """Whether live agents offer all that this version of a pipeline needs."""
    content = PipelineVersion.objects.filter(project_id=project_id, hash=digest).values_list("spec", flat=True).first()
    if content is None:
        return False
    pipeline = spec.parse(content, name)
    return not Placing.now(project_id).unplaced(pipeline, components.schemas(project_id))
