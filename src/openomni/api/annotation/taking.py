"""Who gets which item next: exactly so many people an item, whoever asks at the same instant, leaves, or comes back.

An item has a row for each of its places. Somebody takes one by changing it from free to theirs, under the condition
that it is still free: the database lets one through. A place whose holder was away for longer than its lease is taken
over the same way; what they had begun stays with them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Cast, Mod
from django.utils import timezone

from .models import PRIME, Assignment, Campaign, CampaignAnnotator, CampaignItem

TRIES = 20
LOOKED_AT = 5
"""Places that are tried before the list is read anew: others take them at the same time."""
APART = 10
"""Items between one and its hidden repeat, where there are so many."""
Kind, Status = CampaignItem.Kind, Assignment.Status


@dataclass(frozen=True, slots=True)
class NextItem:
    """What somebody gets. Without an `assignment` there is none for them now: `waits` says whether there may be one
    later, because others hold the last ones."""

    assignment: Assignment | None
    waits: bool = False


def take(annotator: CampaignAnnotator) -> NextItem:
    """The item that is theirs already, or the next one. It waits for them as long as the campaign's lease."""
    campaign = annotator.campaign
    for _ in range(TRIES):
        held = annotator.assignments.filter(status=Status.LEASED).select_related("item").first()
        if held is not None:
            if renew(held):
                return NextItem(held)
            continue  # somebody took it over in this very moment
        if not campaign.asks or annotator.removed_at is not None:
            return NextItem(None)
        try:
            for asked_in in passes_of(campaign):
                if (taken := _in_pass(annotator, asked_in)) is not None:
                    return NextItem(taken)
        except IntegrityError:
            continue  # another page of the same person was quicker: theirs is the one
        except _Overtaken:
            continue
        return NextItem(None, waits=_held_by_others(annotator))
    return NextItem(None, waits=True)


def renew(assignment: Assignment) -> bool:
    """Whether it is still theirs; then it waits for them anew."""
    until = timezone.now() + timedelta(seconds=assignment.campaign.lease_s)
    rows = Assignment.objects.filter(pk=assignment.pk, status=Status.LEASED, annotator=assignment.annotator_id)
    assignment.leased_until = until
    return bool(rows.update(leased_until=until))


def passes_of(campaign: Campaign) -> list[int]:
    """The passes that it has, first to last."""
    return sorted({*campaign.metrics.values_list("asked_in", flat=True)})


class _Overtaken(Exception):
    """All places that were looked at went to others meanwhile."""


def _in_pass(annotator: CampaignAnnotator, asked_in: int) -> Assignment | None:
    """The next of one pass; None when nothing is left in it for them."""
    steps: tuple[Callable[[CampaignAnnotator, int], Assignment | None], ...] = (_training, _control, _repeat, _plain)
    for step in steps:
        if (taken := step(annotator, asked_in)) is not None:
            return taken
    return None


# ---- what fills no place: training, controls, repeats -----------------------------------------------------------


def _training(annotator: CampaignAnnotator, asked_in: int) -> Assignment | None:
    item = _untouched(annotator, asked_in).filter(kind=Kind.TRAINING).order_by("place").first()
    return None if item is None else _apart(annotator, item, asked_in)


def _control(annotator: CampaignAnnotator, asked_in: int) -> Assignment | None:
    """A gold or a trapping item, spread over the work of each annotator; where, each can't foresee."""
    items = annotator.campaign.items.filter(kind__in=CampaignItem.CONTROLS)
    total = items.count()
    if not total:
        return None
    left = _untouched(annotator, asked_in).filter(kind__in=CampaignItem.CONTROLS)
    number = total - left.count()
    if number == total or _done(annotator, asked_in).count() < _due(annotator, number, total):
        return None
    item = _ordered(left, annotator, "place").first()
    return None if item is None else _apart(annotator, item, asked_in)


def _due(annotator: CampaignAnnotator, number: int, total: int) -> int:
    """After how many plain items somebody gets the control of that number."""
    every = max(_workload(annotator.campaign) // (total + 1), 1)
    drawn = random.Random(f"{annotator.stride}:{annotator.offset}:{number}").random()
    return int((number + 0.5 + drawn / 2) * every)


def _workload(campaign: Campaign) -> int:
    """Plain items of one annotator, where all do the same."""
    people = max(campaign.annotators.filter(removed_at=None).count(), campaign.per_item)
    return campaign.items.filter(kind=Kind.PLAIN).count() * campaign.per_item // people


def _repeat(annotator: CampaignAnnotator, asked_in: int) -> Assignment | None:
    """An item that they did long enough ago, once more."""
    share = annotator.campaign.repeats
    if not share:
        return None
    done = _done(annotator, asked_in)
    count = done.count()
    again = annotator.assignments.filter(asked_in=asked_in, occasion=2)
    if int(count * share) <= again.count():
        return None
    old = max(count - min(APART, max(count // 2, 1)), 0)
    since = list(done.order_by("ended_at").values_list("item", flat=True)[:old])
    left = CampaignItem.objects.filter(pk__in=since).exclude(pk__in=again.values("item"))
    item = _ordered(left, annotator, "place").first()
    return None if item is None else _apart(annotator, item, asked_in, occasion=2)


def _apart(annotator: CampaignAnnotator, item: CampaignItem, asked_in: int, occasion: int = 1) -> Assignment:
    with transaction.atomic():
        return Assignment.objects.create(
            campaign=annotator.campaign, project_id=annotator.project_id, item=item, asked_in=asked_in,
            occasion=occasion, **_theirs(annotator),
        )  # fmt: skip


def _done(annotator: CampaignAnnotator, asked_in: int) -> QuerySet[Assignment]:
    return annotator.assignments.filter(asked_in=asked_in, occasion=1, status=Status.DONE, item__kind=Kind.PLAIN)


def _untouched(annotator: CampaignAnnotator, asked_in: int) -> QuerySet[CampaignItem]:
    """Items that they never had in this pass."""
    theirs = Assignment.objects.filter(item=OuterRef("pk"), asked_in=asked_in, annotator=annotator)
    return annotator.campaign.items.filter(~Exists(theirs))


# ---- plain items: a place that is free, or whose holder is away -------------------------------------------------


def _plain(annotator: CampaignAnnotator, asked_in: int) -> Assignment | None:
    campaign, now = annotator.campaign, timezone.now()
    mine = Assignment.objects.filter(item=OuterRef("item"), asked_in=asked_in, annotator=annotator)
    places = Assignment.objects.filter(campaign=campaign, asked_in=asked_in, number__isnull=False)
    # What they began and others have not taken is theirs first.
    left = mine.filter(status=Status.LEFT)
    touched = mine.exclude(status=Status.LEFT)
    open_places = (
        places.filter(Q(status=Status.FREE) | Q(status=Status.LEASED, leased_until__lt=now))
        .exclude(annotator=annotator)
        .filter(~Exists(touched))
    )
    found = _ordered(open_places, annotator, "item__place", first=Exists(left))
    looked_at = list(found.values_list("pk", "status", "item_id")[:LOOKED_AT])
    for key, status, item in looked_at:
        if (taken := _claim(annotator, key, status, item, asked_in)) is not None:
            return taken
    if looked_at:
        raise _Overtaken
    return None


def _claim(annotator: CampaignAnnotator, key: int, status: str, item: int, asked_in: int) -> Assignment | None:
    """The place, if nobody was quicker."""
    now = timezone.now()
    with transaction.atomic():
        row = Assignment.objects.filter(pk=key, status=status)
        if status == Status.LEASED:
            row = row.filter(leased_until__lt=now)
        begun = annotator.assignments.filter(item=item, asked_in=asked_in, occasion=1, status=Status.LEFT).first()
        number = Assignment.objects.filter(pk=key).values_list("number", flat=True).first()
        if status == Status.FREE:
            theirs = _theirs(annotator)
            if begun is not None:  # they take it up again where they were
                theirs |= {name: getattr(begun, name) for name in ("draft", "draft_version", "seconds")}
                begun.delete()
            if not row.update(**theirs):
                transaction.set_rollback(True)
                return None
            return Assignment.objects.select_related("item").get(pk=key)
        # Whoever held it keeps what they entered.
        if not row.update(status=Status.LEFT, number=None):
            return None
        if begun is not None:
            Assignment.objects.filter(pk=begun.pk).update(number=number, **_theirs(annotator))
            return Assignment.objects.select_related("item").get(pk=begun.pk)
        return Assignment.objects.create(
            campaign=annotator.campaign, project_id=annotator.project_id, item_id=item, asked_in=asked_in,
            number=number, **_theirs(annotator),
        )  # fmt: skip


def _theirs(annotator: CampaignAnnotator) -> dict[str, Any]:
    now = timezone.now()
    until = now + timedelta(seconds=annotator.campaign.lease_s)
    return {"annotator": annotator, "status": Status.LEASED, "leased_until": until, "started_at": now}


def _ordered(rows: Any, annotator: CampaignAnnotator, place: str, first: Any = None) -> Any:
    """In the annotator's own order, or in that of the items where all have the same."""
    order: Any = F(place)
    if annotator.campaign.shuffled:
        field = models.BigIntegerField()
        stride, offset, prime = (models.Value(each, field) for each in (annotator.stride, annotator.offset, PRIME))
        order = Mod(Cast(F(place), field) * stride + offset, prime, output_field=field)
    rows = rows.annotate(order=order)
    if first is None:
        return rows.order_by("order", "pk")
    return rows.annotate(first=first).order_by("-first", "order", "pk")


def _held_by_others(annotator: CampaignAnnotator) -> bool:
    """Whether a place may come free that they could take."""
    mine = Assignment.objects.filter(item=OuterRef("item"), asked_in=OuterRef("asked_in"), annotator=annotator)
    held = Assignment.objects.filter(campaign=annotator.campaign, number__isnull=False, status=Status.LEASED)
    return bool(held.exclude(annotator=annotator).filter(~Exists(mine)).exists())


# ---- places as they are given back ------------------------------------------------------------------------------


def drawn(row: Assignment) -> float:
    """0…1, by chance, and always the same for an annotator and an item."""
    return random.Random(f"{row.holder.stride}:{row.item_id}").random()


def lease_end(campaign: Campaign) -> Any:
    """Until when an item waits for somebody who does something now."""
    return timezone.now() + timedelta(seconds=campaign.lease_s)


def free(row: Assignment, number: int) -> None:
    """The place of that number of its item is anybody's again."""
    Assignment.objects.create(
        campaign_id=row.campaign_id, project_id=row.project_id, item_id=row.item_id, asked_in=row.asked_in,
        number=number,
    )  # fmt: skip


def take_back(row: Assignment) -> bool:
    """Whether a place of its item is free for somebody who had left it; then it is theirs, for who hands it in."""
    same = Assignment.objects.select_for_update().filter(
        item=row.item_id, asked_in=row.asked_in, number__isnull=False, status=Status.FREE
    )
    place = same.order_by("number").first()
    if place is None:
        return False
    row.number = place.number
    place.delete()
    return True
