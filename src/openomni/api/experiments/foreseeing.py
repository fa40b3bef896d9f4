"""What an experiment can tell, before it has run: the smallest difference that its samples and repeats detect."""

from __future__ import annotations

from typing import Any

from ...evaluation import power
from . import measurements
from .models import Cell, Experiment


def detectable(experiment: Experiment) -> dict[str, Any]:
    """The smallest difference that is found with 80 % probability: `in_sd`, in standard deviations of a sample's paired
    difference, and by metric in its unit where an earlier experiment on the same dataset says how they scatter.

    Raises OpenOmniError where the libraries are not installed.
    """
    rows = list(experiment.dataset.rows.values_list("group", "sample_id"))
    groups = {("of", group) if group else ("alone", sample) for group, sample in rows}
    comparisons = max(1, experiment.pipelines.count() - 1)
    settings: dict[str, Any] = {"clusters": len(groups), "comparisons": comparisons}
    alone = power.detectable(len(rows), experiment.repeats, **settings)
    earlier = _earlier(experiment)
    metrics = []
    if earlier is not None:
        found = measurements.of(earlier)
        for info in measurements.chosen(found, ()):
            spread = power.spread_of(found.measured_under(info.name), info)
            if info.better and spread is not None:
                told = power.detectable(len(rows), experiment.repeats, spread=spread, **settings)
                metrics.append({"metric": info.name, "unit": info.unit, "difference": told["difference"]})
    return {
        "experiment": experiment.name, "samples": len(rows), "groups": len(groups), "repeats": experiment.repeats,
        "comparisons": comparisons, "power": power.POWER, "in_sd": alone["in_sd"],
        "measured_in": earlier.name if earlier else None, "metrics": metrics,
    }  # fmt: skip


def _earlier(experiment: Experiment) -> Experiment | None:
    """The newest one before it on the same version of the dataset, of which something ran through two pipelines."""
    rows = Experiment.objects.filter(project_id=experiment.project_id, dataset=experiment.dataset)
    for each in rows.filter(pk__lt=experiment.pk).order_by("-pk")[:10]:
        done = Cell.objects.filter(experiment=each, status=Cell.Status.DONE, repeat__gt=0).order_by()
        if done.values("pipeline").distinct().count() > 1:
            return each
    return None
