"""How well a dataset is understood: the word error rate of the built-in pipeline, from the experiments run on it."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.db.models import Max

from ..scores.giving import standing
from ..scores.models import Outcome, Score, Target
from .models import DatasetVersion

PIPELINE, METRIC = "local", "wer"
LOOKED_AT = 20
"""Experiments, the newest first, until one is found that was scored."""
KEPT_S = 24 * 3600


def wer_of_local(version: DatasetVersion) -> dict[str, Any] | None:
    """`wer` of the whole corpus, over so many `words`, by which `experiment`; None where nobody measured it."""
    ran = version.experiments.filter(pipelines__name=PIPELINE, given={}).order_by("-created_at")
    for experiment in ran[:LOOKED_AT]:
        cells = experiment.cells.filter(pipeline__name=PIPELINE, repeat__gt=0).values("pk")
        scores = Score.objects.filter(
            project_id=version.project_id, target=Target.CELL, target_id__in=cells, metric__name=METRIC,
            outcome=Outcome.SCORED,
        )  # fmt: skip
        newest = scores.aggregate(metric=Max("metric"), last=Max("pk"))
        if newest["last"] is None:
            continue
        key = f"wer-of-local:{experiment.pk}:{newest['last']}"
        if (counted := cache.get(key)) is None:
            details = standing(scores.filter(metric=newest["metric"])).values_list("detail", flat=True)
            counted = [sum(each.get(name, 0) for each in details) for name in ("errors", "total")]
            cache.set(key, counted, KEPT_S)
        errors, words = counted
        if words:
            return {"wer": errors / words, "words": int(words), "experiment": experiment.name}
    return None
