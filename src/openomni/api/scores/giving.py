"""How a score comes to be: bounded, checked against its metric, and added to what was said before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from django.db import IntegrityError, models, transaction
from django.db.models import F, Max, OuterRef, QuerySet, Subquery

from ... import bounds
from ...errors import OpenOmniError
from .models import Metric, Outcome, Rater, Score, Target

MAX_DETAIL = 64 << 10
"""Bytes of a score's detail as JSON."""
TRIES = 5


class ScoreRefused(OpenOmniError):
    """A score that its metric does not take; the message says why."""

    exit_code = 2


def give(
    metric: Metric, rater: Rater, target: Target, target_id: str, *, outcome: Outcome = Outcome.SCORED,
    value: float | None = None, label: str = "", reason: str = "", detail: Mapping[str, Any] | None = None,
    occasion: str = "",
) -> Score:  # fmt: skip
    """Keeps a score; one that the rater gave before stays, and no longer stands. Raises `ScoreRefused`.

    The same again adds nothing, so who is not sure whether it came may give it twice.
    """
    said = {"outcome": outcome, "value": value, "label": label, "reason": reason, "detail": dict(detail or {})}
    _check(metric, rater, target, target_id, said)
    about = {"metric": metric, "rater": rater, "target": target, "target_id": target_id, "occasion": occasion}
    for _ in range(TRIES):
        last = Score.objects.filter(**about).order_by("-revision").first()
        if last is not None and all(getattr(last, name) == what for name, what in said.items()):
            return last
        try:
            with transaction.atomic():
                revision = last.revision + 1 if last else 1
                return Score.objects.create(project_id=metric.project_id, **about, revision=revision, **said)
        except IntegrityError:
            continue  # another of the same rater came in between
    raise ScoreRefused(f"{rater} scores {target} {target_id} from several places at once; give it again")


def standing(scores: QuerySet[Score]) -> QuerySet[Score]:
    """Of these scores those that stand: the newest revision of each rater, target, metric and occasion."""
    fields = ("metric", "rater", "target", "target_id", "occasion")
    same = Score.objects.filter(**{name: OuterRef(name) for name in fields}).order_by()
    newest = same.values("metric").annotate(newest=Max("revision")).values("newest")
    return scores.annotate(newest=Subquery(newest, output_field=models.IntegerField())).filter(revision=F("newest"))


def _check(metric: Metric, rater: Rater, target: Target, target_id: str, said: dict[str, Any]) -> None:
    if rater.project_id != metric.project_id:
        raise ScoreRefused(f"the rater {rater} is of another project than the metric {metric}")
    if target != metric.takes:
        raise ScoreRefused(f"{metric} takes a {metric.takes}, and this is a {target}")
    if not 0 < len(target_id) <= 140 or not bounds.storable(target_id):
        raise ScoreRefused("a target's id has 1 to 140 characters")
    if not bounds.storable_json(said["detail"]) or len(msgspec.json.encode(said["detail"])) > MAX_DETAIL:
        raise ScoreRefused(f"the detail of a score is JSON of at most {MAX_DETAIL} bytes, without NaN and NUL")
    for name, longest in (("label", 200), ("reason", bounds.MAX_TEXT)):
        if len(said[name]) > longest or not bounds.storable(said[name]):
            raise ScoreRefused(f"the {name} of a score takes at most {longest} characters, and no NUL among them")
    value = said["value"]
    if said["outcome"] != Outcome.SCORED:
        if value is not None or said["label"]:
            raise ScoreRefused(f"what is {said['outcome']} has no value; leave it out")
        return
    if value is None and not said["label"]:
        raise ScoreRefused("what is scored has a value or a label; for one that can't be told, say not_applicable")
    if value is not None and not math.isfinite(value):
        raise ScoreRefused(f"{metric} takes a finite number; for one that can't be told, say failed, with the reason")
    low, high = metric.low, metric.high
    if value is not None and ((low is not None and value < low) or (high is not None and value > high)):
        raise ScoreRefused(f"{metric} takes {_range(low, high)}, and this is {value:g}")


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{high:g} at most" if low is None and high is not None else f"{low:g} at least"
    return f"{low:g} to {high:g}"
