"""Metrics as data: how one is stated, found and retired.

What was once asked stays a row for good, version by version, for scores say which version they answered. The version
that was stated last is the one that is asked from then on; one that is retired is asked nobody any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ...metrics import rated
from ...metrics.rated import RatedMetric
from ...metrics.scales import Correction
from ..ground.errors import Refusal, conflict, not_found
from .models import Metric, Target

MAX_METRICS = 2_000
"""Versions of metrics that a project states; each is a row that stays."""
_TARGETS = {"turn": Target.TURN, "session": Target.SESSION, "group": Target.GROUP, "pair": Target.PAIR}


@dataclass(frozen=True, slots=True)
class StatedMetric:
    """What stating did. `made`: a version that was not there before."""

    row: Metric
    made: bool


def state(project_id: str, asked: RatedMetric) -> StatedMetric:
    """Makes it the version that is asked from now on. Raises `Refusal` for the name of a metric that programs measure,
    and beyond `MAX_METRICS`."""
    low, high = asked.scale.range
    with transaction.atomic():
        same = Metric.objects.filter(project_id=project_id, name=asked.name)
        if same.filter(rated=False).exists():
            conflict(f"{asked.name!r} is measured by a program here; give the question another name")
        found = same.filter(version=asked.version).first()
        if found is None and Metric.objects.filter(project_id=project_id, rated=True).count() >= MAX_METRICS:
            conflict(f"a project states at most {MAX_METRICS:,} versions of metrics, and this one has them")
        row, made = Metric.objects.get_or_create(
            project_id=project_id,
            name=asked.name,
            version=asked.version,
            defaults={
                "rated": True, "takes": target_of(asked), "unit": asked.unit, "better": asked.better,
                "level": asked.scale.level, "low": low, "high": high, "description": asked.question,
                "parameters": {"kind": "accuracy", "statistic": _statistic(asked), "asked": asked.content},
            },
        )  # fmt: skip
        row.stated_at, row.retired_at = timezone.now(), None
        row.save(update_fields=["stated_at", "retired_at"])
    return StatedMetric(row, made)


def target_of(asked: RatedMetric) -> Target:
    """What its scores are of: a stage's output is its task's."""
    return _TARGETS.get(asked.about, Target.TASK)


def asked_of(row: Metric) -> RatedMetric:
    """The question behind a row. Raises `RatedMetricError` for a row that is none, or that a newer server wrote."""
    return rated.parsed(row.parameters.get("asked"))


def current(project_id: str) -> QuerySet[Metric]:
    """Of each name the version that is asked now; none of those that are retired."""
    rows = Metric.objects.filter(project_id=project_id, rated=True)
    newest: dict[str, Metric] = {}
    for row in rows.order_by("stated_at", "pk").only("pk", "name", "retired_at"):
        newest[row.name] = row
    return rows.filter(pk__in=[row.pk for row in newest.values() if row.retired_at is None]).order_by("name")


def chosen(project_id: str, named: str) -> Metric:
    """By `name`, the version that is asked now, or by `name@version`; one that comes along is stated by being asked
    for. Raises `Refusal`, 404."""
    name, _, version = named.partition("@")
    rows = Metric.objects.filter(project_id=project_id, rated=True)
    found: Metric | None
    if version:
        found = rows.filter(name=name, version=version).first()
    else:
        found = current(project_id).filter(name=name).first()
        retired = found is None and rows.filter(name=name).exists()
        if found is None and not retired and name in rated.builtin():
            found = state(project_id, rated.builtin()[name]).row
        if retired:
            raise Refusal(404, f"the metric {name!r} is retired; state it again to ask it, or name one of its versions")
    if found is None:
        versions = [f"{name}@{each}" for each in rows.filter(name=name).values_list("version", flat=True)]
        known = versions or [*current(project_id).values_list("name", flat=True), *rated.builtin()]
        not_found("metric", named, sorted({*known}))
    return found


def retire(row: Metric) -> None:
    """It is asked nobody any more; what was answered to it stays, and whoever is being asked it goes on."""
    same = Metric.objects.filter(project_id=row.project_id, name=row.name, rated=True)
    same.filter(retired_at=None).update(retired_at=timezone.now())


def _statistic(asked: RatedMetric) -> str:
    """How the scores of many become one: a correction has errors in so many words, all else an average."""
    return "rate" if isinstance(asked.scale, Correction) else "mean"


def described(row: Metric) -> dict[str, Any]:
    """As REST and pages tell it."""
    return {**told(asked_of(row)), "retired": row.retired_at is not None, "stated_at": row.stated_at}


def told(asked: RatedMetric) -> dict[str, Any]:
    """The same of a question that nobody has stated here."""
    return {
        "metric": asked.name, "version": asked.version, "about": asked.about, "title": asked.label,
        "question": asked.question, "scale": asked.content["scale"], "better": asked.better, "unit": asked.unit,
        "guidance": asked.guidance, "source": asked.source, "examples": asked.content.get("examples", []),
        "required": asked.required, "comment": asked.comment, "asked_in": asked.ask_in, "level": asked.scale.level,
        "builtin": rated.builtin().get(asked.name) == asked,
    }  # fmt: skip
