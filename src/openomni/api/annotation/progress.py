"""How far a campaign is: by item, by pass and by annotator, in a few queries however many items there are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Avg, Count, Max, Q

from .models import Assignment, Campaign, CampaignItem
from .taking import passes_of

Status = Assignment.Status
RECENT = 200
"""Answers that a pace is told from."""
PLACES = Q(number__isnull=False)


def whole(campaign: Campaign) -> dict[str, Any]:
    """All of it, for REST and the page."""
    rows = campaign.assignments.filter(PLACES)
    counts = rows.aggregate(
        planned=Count("pk"),
        done=Count("pk", filter=Q(status=Status.DONE)),
        leased=Count("pk", filter=Q(status=Status.LEASED)),
    )
    stated = campaign.content["stated"]
    return {
        "campaign": campaign.name, "status": campaign.status, "asks": campaign.asks, "of": campaign.of,
        "description": stated.get("description", ""), "per_item": campaign.per_item, "blind": campaign.blind,
        "repeats": campaign.repeats, "until": campaign.until, "created_by": campaign.created_by,
        "created_at": campaign.created_at, "items": campaign.items.filter(kind=CampaignItem.Kind.PLAIN).count(),
        "places": counts, "metrics": campaign.content["metrics"], "passes": passes_of(campaign),
        "annotators": annotators(campaign), "skipped": _skipped(campaign), "stated": stated,
        "look_again": campaign.assignments.exclude(look_again="").count(),
    }  # fmt: skip


def annotators(campaign: Campaign) -> list[dict[str, Any]]:
    """Who is asked, with what they did, and how long an item takes them."""
    of_theirs = Q(assignments__status=Status.DONE)
    rows = campaign.annotators.select_related("rater").annotate(
        done=Count("assignments", filter=of_theirs),
        skipped=Count("assignments", filter=Q(assignments__status=Status.SKIPPED)),
        seconds=Avg("assignments__seconds", filter=of_theirs & Q(assignments__seconds__gt=0)),
        last=Max("assignments__ended_at"),
    )
    return [
        {"annotator": row.rater.name, "done": row.done, "skipped": row.skipped, "removed": row.removed_at is not None,
         "seconds_an_item": None if row.seconds is None else round(row.seconds, 1), "last_at": row.last}
        for row in rows.order_by("pk")
    ]  # fmt: skip


def mine(campaign: Campaign, annotator: Any) -> dict[str, Any]:
    """How far somebody is, for themselves: what they did, and how much is left at most."""
    done = annotator.assignments.filter(status=Status.DONE).count() if annotator is not None else 0
    mine = annotator.assignments.values("item") if annotator is not None else []
    left = campaign.assignments.filter(PLACES, status=Status.FREE).exclude(item__in=mine)
    return {"done": done, "left": left.count()}


def ends(campaign: Campaign) -> datetime | None:
    """When it will be over at the pace of the last answers; None where that can't be told."""
    rows = campaign.assignments.filter(PLACES, status=Status.DONE, ended_at__isnull=False)
    recent = [each for each in rows.order_by("-ended_at").values_list("ended_at", flat=True)[:RECENT] if each]
    left = campaign.assignments.filter(PLACES).exclude(status=Status.DONE).count()
    if len(recent) < 2 or not left:
        return None
    return recent[0] + (recent[0] - recent[-1]) / (len(recent) - 1) * left


def _skipped(campaign: Campaign) -> list[dict[str, Any]]:
    """Why items were skipped, the most frequent first."""
    rows = campaign.assignments.filter(status=Status.SKIPPED).values("reason").annotate(count=Count("pk"))
    return [{"reason": row["reason"], "count": row["count"]} for row in rows.order_by("-count", "reason")[:20]]
