"""Campaigns as they are begun, and as people join them and leave."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from ...errors import nearest
from ...metrics.scales import OffScale
from ...version import __version__
from ..accounts.models import Membership, Role, User
from ..accounts.roles import includes
from ..ground.caller import Caller
from ..ground.errors import Refusal, conflict, not_found
from ..scores import stating
from ..scores.models import Metric, Rater, Target
from . import selecting
from .models import Assignment, Campaign, CampaignAnnotator, CampaignItem, CampaignMetric
from .selecting import FoundItem
from .spec import CampaignSpec, Known

MAX_PLACES = 50_000
"""Times that somebody is asked about an item, in one campaign: it is written in one piece, and others wait so long."""
BATCH = 2_000
Kind = CampaignItem.Kind


def begin(caller: Caller, spec: CampaignSpec) -> Campaign:
    """Makes it with all of its items; the same again gives the one that there is. Raises `Refusal` before anything is
    made: 404 and 422 for what can't be, 409 for a name that has another content."""
    project = caller.project_id
    there = Campaign.objects.filter(project_id=project, name=spec.name).first()
    if there is not None:
        if there.content["stated"] != spec.content:
            conflict(f"there is a campaign {spec.name!r} of another content; give this one another name")
        return there
    metrics = [_fitting(stating.chosen(project, each), spec) for each in spec.metrics]
    people = [_person(project, each) for each in spec.annotators]
    controls = _controls(project, spec, metrics)
    items = selecting.found(project, spec)
    left_out = {(found.target, found.target_id) for _, found, _ in controls}
    items = [each for each in items if (each.target, each.target_id) not in left_out]
    if not items:
        raise Refusal(422, "all that `from` finds is training or a control; choose more")
    passes = sorted({stating.asked_of(each).ask_in for each in metrics})
    if len(items) * spec.per_item * len(passes) > MAX_PLACES:
        raise Refusal(422, f"that would ask more than {MAX_PLACES:,} times; choose fewer items, passes or per_item")
    with transaction.atomic():
        campaign, made = Campaign.objects.get_or_create(
            project_id=project, name=spec.name, defaults=_fields(caller, spec, metrics)
        )
        if not made:
            conflict(f"somebody else began the campaign {spec.name!r} in this moment; look at it first")
        _fill(campaign, spec, metrics, controls, items, passes)
        for person in people:
            join(campaign, person)
    return campaign


def join(campaign: Campaign, user: User) -> CampaignAnnotator:
    """They are asked from now on; who was removed comes back with all that they answered."""
    owned = {"project_id": campaign.project_id}
    name = user.get_username()
    rater = Rater.objects.filter(user=user, **owned).first()
    if rater is None:
        rater, _ = Rater.objects.get_or_create(kind=Rater.Kind.PERSON, name=name, version="", **owned,
                                               defaults={"user": user})  # fmt: skip
    row, _ = CampaignAnnotator.objects.get_or_create(campaign=campaign, rater=rater, defaults={**owned, "user": user})
    if row.removed_at is not None:
        row.removed_at = None
        row.save(update_fields=["removed_at"])
    return row


def found_person(project_id: str, name: str) -> User:
    """Somebody of the project who may annotate, by name or e-mail address. Raises `Refusal`, 404."""
    return _person(project_id, name)


def asked(campaign: Campaign, user_id: int | None) -> CampaignAnnotator:
    """The annotator that somebody is in it. Raises `Refusal`, 404, for a campaign that asks somebody else."""
    row = campaign.annotators.filter(user=user_id).select_related("rater").first() if user_id is not None else None
    if row is None and _is_open(campaign) and (user := _may_annotate(campaign.project_id, user_id)) is not None:
        row = join(campaign, user)
    if row is None:
        not_found("campaign", campaign.name)
    row.campaign = campaign
    return row


def asking(project_id: str, user_id: int | None) -> Iterator[tuple[Campaign, CampaignAnnotator | None]]:
    """The open campaigns that ask somebody, newest first; None as the annotator of one that they have not begun."""
    if user_id is None:
        return
    campaigns = Campaign.objects.filter(project_id=project_id, status=Campaign.Status.OPEN)
    rows = CampaignAnnotator.objects.filter(user=user_id, campaign__in=campaigns).select_related("rater")
    theirs = {row.campaign_id: row for row in rows}
    may = _may_annotate(project_id, user_id) is not None
    for campaign in campaigns:
        row = theirs.get(campaign.pk)
        if row is not None and row.removed_at is None:
            row.campaign = campaign
            yield campaign, row
        elif row is None and may and _is_open(campaign):
            yield campaign, None


def _is_open(campaign: Campaign) -> bool:
    """Whether whoever has the role may take part: nobody was named."""
    return not campaign.content["stated"].get("annotators")


def _may_annotate(project_id: str, user_id: int | None) -> User | None:
    if user_id is None:
        return None
    member = Membership.objects.filter(project_id=project_id, user=user_id).select_related("user").first()
    if member is None:
        return User.objects.filter(pk=user_id, is_superuser=True, is_active=True).first()
    return member.user if includes(member.role, Role.ANNOTATOR) else None


# ---- what is looked up -----------------------------------------------------------------------------------------


def _fitting(row: Metric, spec: CampaignSpec) -> Metric:
    takes = {row.takes} if row.takes != Target.TASK else {Target.TURN}
    if spec.of not in takes:
        about = stating.asked_of(row).about
        raise Refusal(422, f"{row.name} is about a {about}, and this campaign gives out each {spec.of}; leave it out, "
                           f"or begin another campaign `of: {next(iter(takes))}`")  # fmt: skip
    return row


def _person(project: str, name: str) -> User:
    members = Membership.objects.filter(project_id=project).select_related("user")
    found = members.filter(Q(user__username=name) | Q(user__email__iexact=name)).first()
    if found is None:
        superuser = User.objects.filter(username=name, is_superuser=True).first()
        if superuser is not None:
            return superuser
        known = members.values_list("user__username", flat=True)
        raise Refusal(404, f"there is nobody called {name!r} in this project; {nearest(name, known)}")
    if not includes(found.role, Role.ANNOTATOR):
        raise Refusal(422, f"{name} is a {found.role} of this project, who does not annotate; make them an annotator")
    return found.user


def _controls(project: str, spec: CampaignSpec, metrics: Sequence[Metric]) -> list[tuple[str, FoundItem, Known]]:
    questions = {each.name: stating.asked_of(each) for each in metrics}
    made = []
    for kind, several in ((Kind.TRAINING, spec.training), (Kind.GOLD, spec.gold), (Kind.TRAP, spec.traps)):
        for each in several:
            for name, answer in each.expect.items():
                if name not in questions:
                    raise Refusal(422, f"{kind}: expects an answer to {name!r}; {nearest(name, questions)}")
                try:
                    questions[name].rate(answer)
                except OffScale as no:
                    raise Refusal(422, f"{kind}: {no}") from None
            made.append((str(kind), selecting.known(project, each), each))
    keys = [(kind, found.target_id) for kind, found, _ in made]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise Refusal(422, f"{twice[0]}: {twice[1]} is in it twice")
    return made


# ---- what is made ----------------------------------------------------------------------------------------------


def _fields(caller: Caller, spec: CampaignSpec, metrics: Sequence[Metric]) -> dict[str, Any]:
    manifest = {
        "stated": spec.content, "openomni": __version__, "began_at": datetime.now(UTC).isoformat(),
        "metrics": [{"metric": each.name, "version": each.version} for each in metrics],
    }  # fmt: skip
    return {
        "content": manifest, "of": spec.of, "per_item": spec.per_item, "blind": spec.blind,
        "shuffled": spec.order == "random", "repeats": spec.repeats, "lease_s": round(spec.lease * 60),
        "until": spec.until, "created_by": caller.user_name or caller.token_id,
    }  # fmt: skip


def _fill(
    campaign: Campaign, spec: CampaignSpec, metrics: Sequence[Metric],
    controls: Sequence[tuple[str, FoundItem, Known]], items: Sequence[FoundItem], passes: Sequence[int],
) -> None:  # fmt: skip
    owned: dict[str, Any] = {"campaign": campaign, "project_id": campaign.project_id}
    CampaignMetric.objects.bulk_create(
        CampaignMetric(**owned, metric=each, place=place, asked_in=stating.asked_of(each).ask_in)
        for place, each in enumerate(metrics)
    )
    places = list(range(len(items)))
    if campaign.shuffled:
        random.Random(spec.seed).shuffle(places)
    rows = [
        CampaignItem(**owned, place=place, target=each.target, target_id=each.target_id, about=each.about)
        for place, each in zip(places, items, strict=True)
    ]
    rows += [
        CampaignItem(**owned, kind=kind, place=place, target=found.target, target_id=found.target_id,
                     about=found.about, expected=each.expect, why=each.why)
        for place, (kind, found, each) in enumerate(controls, len(items))
    ]  # fmt: skip
    for at in range(0, len(rows), BATCH):
        made = CampaignItem.objects.bulk_create(rows[at : at + BATCH])
        Assignment.objects.bulk_create(
            Assignment(**owned, item=item, asked_in=asked_in, number=number)
            for item in made
            if item.kind == Kind.PLAIN
            for asked_in in passes
            for number in range(1, spec.per_item + 1)
        )
