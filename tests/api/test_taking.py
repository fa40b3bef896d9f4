"""Items that many ask for at the same instant: each goes to exactly so many, on either database."""

from __future__ import annotations

import contextlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from api.annotated import Annotator, annotator, begun, conversation
from api.support import api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.annotation import handing_in, taking
from openomni.api.annotation.models import Assignment, Campaign, CampaignAnnotator
from openomni.api.ground.errors import Refusal
from openomni.api.scores.models import Score

pytestmark = pytest.mark.django_db(transaction=True)
PEOPLE, ITEMS, EACH = 6, 12, 2


@pytest.fixture
def home(db: None) -> Project:
    return Project.objects.create(slug="home", name="Home")


def begin(project: Project) -> tuple[Campaign, list[Annotator]]:
    conversation(project, "talk", ITEMS)
    people = [annotator(project, f"person-{number}") for number in range(PEOPLE)]
    begun(api_for(project, Scope.ADMIN), per_item=EACH, annotators=[each.user.username for each in people])
    return Campaign.objects.get(), people


def answers(row: Assignment) -> handing_in.HandedIn:
    return handing_in.HandedIn({"overall": {"answer": row.item_id % 6}})


def works(annotator_id: int, silent: bool) -> None:
    """Takes and hands in until nothing is left. One who is silent takes an item and does nothing more."""
    try:
        who = CampaignAnnotator.objects.select_related("campaign", "rater").get(pk=annotator_id)
        while True:
            found = taking.take(who)
            if found.assignment is None:
                if not found.waits:
                    return
                expire_silent()
                continue
            if silent:
                return
            with contextlib.suppress(Refusal):  # somebody took it over
                handing_in.hand_in(found.assignment, answers(found.assignment))
    finally:
        connections.close_all()


def expire_silent() -> None:
    """The leases of those who are silent run out."""
    silent = CampaignAnnotator.objects.filter(rater__name="person-0").values("pk")
    Assignment.objects.filter(annotator__in=silent, status="leased").update(
        leased_until=timezone.now() - timedelta(seconds=1)
    )


def test_many_at_once_fill_each_place_once_and_one_who_left_holds_nothing_up(home: Project) -> None:
    campaign, _ = begin(home)
    keys = list(campaign.annotators.order_by("pk").values_list("pk", flat=True))
    with ThreadPoolExecutor(PEOPLE) as pool:
        done = [pool.submit(works, key, number == 0) for number, key in enumerate(keys)]
        for each in done:
            each.result(timeout=120)
    rows = Assignment.objects.filter(number__isnull=False)
    assert {row.status for row in rows} == {"done"}
    by_item = Counter(row.item_id for row in rows)
    assert set(by_item.values()) == {EACH}
    assert Score.objects.count() == ITEMS * EACH
    assert len({(row.target_id, row.rater_id) for row in Score.objects.all()}) == ITEMS * EACH


def test_one_person_in_many_pages_has_one_item_at_a_time(home: Project) -> None:
    campaign, _ = begin(home)
    key = campaign.annotators.order_by("pk").values_list("pk", flat=True)[0]

    def ask(_: int) -> Any:
        try:
            found = taking.take(CampaignAnnotator.objects.select_related("campaign").get(pk=key)).assignment
            return None if found is None else found.pk
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(ask, range(6)))
    assert len(set(got)) == 1
    assert Assignment.objects.filter(status="leased").count() == 1
