"""Campaigns for the pages' tests, over conversations that sound."""

from __future__ import annotations

from typing import Any

from pages.conversation_rows import conversation


def campaign(name: str = "first", metrics: Any = ("recognition", "transcript", "generated_text", "voice", "overall"),
             **fields: Any) -> None:  # fmt: skip
    """Over the four turns of a conversation; whoever may annotate is asked."""
    from openomni.api.annotation import beginning, spec
    from openomni.api.annotation.models import Campaign
    from openomni.api.ground.caller import Caller
    from openomni.api.records.models import Session

    if not Session.objects.filter(pk="rated1").exists():
        conversation("rated1", turns=3)
    stated = {"campaign": name, "from": {"sessions": ["rated1"]}, "metrics": list(metrics), "per_item": 1,
              "order": "given", "description": "How well does it answer at a bedside?", **fields}  # fmt: skip
    beginning.begin(Caller("default", frozenset({"admin"})), spec.parsed(stated))
    assert Campaign.objects.filter(name=name).exists()


def scores() -> list[list[Any]]:
    """Metric, target, value or label, of all scores, oldest first."""
    from openomni.api.scores.models import Score

    rows = Score.objects.order_by("pk").select_related("metric")
    return [[row.metric.name, row.target_id, row.label if row.value is None else row.value] for row in rows]


def nothing() -> None:
    from openomni.api.annotation.models import Campaign
    from openomni.api.scores.models import Metric, Rater, Score
    from pages.conversation_rows import nothing as no_conversation

    Campaign.objects.all().delete()
    for model in (Score, Rater, Metric):
        model.objects.all().delete()
    no_conversation()
