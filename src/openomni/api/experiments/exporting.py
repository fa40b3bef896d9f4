"""An experiment as a bundle: what its figures are made of, for a folder that opens offline and for another server.

Not in it: media, turns and their texts, single raters' scores (each cell has the mean of them), warm-up.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from ...version import __version__
from ..pipelines.models import PipelineVersion
from ..scores.models import Metric
from . import comparing, measurements
from .models import Cell, Experiment

FORMAT = "openomni.experiment/1"
"""As `openomni.evaluation.publishing` reads it."""
LIBRARIES = ("numpy", "scipy", "statsmodels")


def bundle(experiment: Experiment) -> dict[str, Any]:
    """Raises Refusal and OpenOmniError as `comparing.compared` does."""
    found = measurements.of(experiment)
    version = experiment.dataset
    specs = PipelineVersion.objects.filter(project_id=experiment.project_id)
    hashes = [row.hash for row in experiment.pipelines.all()]
    rows = Metric.objects.filter(project_id=experiment.project_id, name__in=list(found.metrics))
    takes = {(name, said): taken for name, said, taken in rows.values_list("name", "version", "takes")}
    contents = dict(specs.filter(hash__in=hashes).values_list("hash", "spec"))
    return {
        "format": FORMAT,
        "experiment": {
            "name": experiment.name, "seed": experiment.seed, "pace": experiment.pace, "repeats": experiment.repeats,
            "baseline": experiment.baseline, "margins": experiment.margins, "player": experiment.player,
            "manifest": experiment.manifest, "status": experiment.status,
            "started_at": experiment.started_at, "ended_at": experiment.ended_at,
        },
        "dataset": {
            "name": version.dataset.name, "number": version.number, "hash": version.hash, "seconds": version.seconds,
            "samples": [
                {
                    "sample": row.sample_id, "group": row.group, "hash": row.hash, "seconds": row.seconds,
                    "needs_realtime": row.needs_realtime, "pair": row.pair, "content": row.content,
                }
                for row in version.rows.order_by("position")
            ],
        },
        "pipelines": [
            {"label": row.label, "name": row.name, "hash": row.hash, "spec": contents.get(row.hash)}
            for row in experiment.pipelines.order_by("place")
        ],
        "metrics": [
            {
                "name": info.name, "version": info.version, "unit": info.unit, "better": info.better, "kind": info.kind,
                "statistic": info.statistics[0] if info.statistics else "",
                "takes": takes.get((info.name, info.version), "cell"),
            }
            for info in found.metrics.values()
        ],
        "cells": [
            {
                "sample": cell.sample.sample_id, "pipeline": cell.pipeline.label, "repeat": cell.repeat,
                "order": cell.order, "status": cell.status, "reason": cell.reason, "attempt": cell.attempt,
                "disturbed": cell.disturbed, "started_at": cell.started_at, "ended_at": cell.ended_at,
            }
            for cell in Cell.objects.filter(experiment=experiment, repeat__gt=0)
            .select_related("sample", "pipeline").order_by("order")
        ],
        "scores": [
            {
                "metric": each.metric, "sample": each.sample, "pipeline": each.pipeline, "repeat": each.repeat,
                "outcome": each.outcome, "value": each.value, "errors": each.errors, "total": each.total,
            }
            for each in found.measured
        ],
        "comparison": comparing.compared(experiment),
        "computed_by": {"openomni": __version__, **{name: metadata.version(name) for name in LIBRARIES}},
    }  # fmt: skip
