"""What becomes of an item that somebody has: entered bit by bit, handed in, skipped, taken up again.

What is handed in twice counts once, so a page whose line was cut sends it again. What is entered is kept whatever
becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from ... import bounds
from ..ground.errors import Refusal, conflict
from ..scores.answering import RaterAnswer, answer
from ..scores.giving import ScoreRefused, standing
from ..scores.models import Metric, Outcome, Score, Target
from ..scores.stating import asked_of
from . import reading, taking
from .models import Assignment, CampaignAnnotator, CampaignItem

MAX_DRAFT = 256 << 10
"""Bytes of what is entered, as JSON."""
LONGEST_S = 24 * 3600.0
Status = Assignment.Status
OUTCOMES = {"not_applicable": Outcome.NOT_APPLICABLE, "skipped": Outcome.SKIPPED}


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What somebody hands in: by metric, `{"answer": …}` or `{"outcome": "not_applicable"}`, each with a `comment` if
    they like. `seconds` for which the page was worked in; `heard`: which share of the sound was played."""

    answers: Mapping[str, Mapping[str, Any]]
    seconds: float = 0.0
    heard: float | None = None
    look_again: str = ""
    swapped: bool = False
    """Of a pair, whether the second of the item was shown first."""
    suggested: Mapping[str, Any] = field(default_factory=dict)
    """By metric, what stood there before the annotator answered."""


def keep_draft(assignment: Assignment, draft: Mapping[str, Any], version: int) -> int:
    """Keeps what is entered, and has it wait for them anew; returns the version that it has now. Raises `Refusal`: 409
    where it is not theirs any more, or another page of theirs has entered something since `version`."""
    if len(msgspec.json.encode(draft)) > MAX_DRAFT:
        raise Refusal(422, f"what is entered has at most {MAX_DRAFT >> 10} KiB")
    until = taking.lease_end(assignment.campaign)
    with transaction.atomic():
        row = _locked(assignment)
        if row.status not in (Status.LEASED, Status.LEFT):
            conflict("it was handed in already; what stands there is what was handed in", state=row.status)
        if row.draft_version != version:
            conflict(
                "another page of yours entered something meanwhile; load this page again to see it",
                draft_version=row.draft_version,
            )
        row.draft, row.draft_version = dict(draft), version + 1
        if row.status == Status.LEASED:
            row.leased_until = until
        row.save(update_fields=["draft", "draft_version", "leased_until"])
        status = row.status
    if status == Status.LEFT:
        raise _gone()
    return version + 1


def hand_in(assignment: Assignment, given: HandedIn) -> Assignment:
    """Its scores are kept, and its place is filled. One that was handed in before is corrected: the older scores stay,
    and stand no longer. Raises `Refusal`: 422 for answers that no scale has, or that are missing, 409 where somebody
    else has it now."""
    with transaction.atomic():
        row = _locked(assignment)
        if row.status == Status.LEFT and not taking.take_back(row):
            Assignment.objects.filter(pk=row.pk).update(draft={"answers": dict(given.answers)})
        elif row.status not in (Status.LEASED, Status.DONE, Status.LEFT):
            conflict(f"it was {row.status}; take the next one", state=row.status)
        else:
            _score(row, given)
            if row.status != Status.DONE:
                row.status, row.ended_at, row.draft = Status.DONE, timezone.now(), {}
                row.seconds = min(max(given.seconds, 0.0), LONGEST_S)
            row.leased_until, row.look_again = None, given.look_again
            row.save()
            return row
    raise _gone()


def skip(assignment: Assignment, reason: str) -> Assignment:
    """Somebody else gets its place, and they do not get it again. Raises `Refusal`, 409."""
    with transaction.atomic():
        row = (
            Assignment.objects.select_for_update(of=("self",)).select_related("item", "campaign").get(pk=assignment.pk)
        )
        if row.status not in (Status.LEASED, Status.SKIPPED, Status.LEFT):
            conflict(f"it is {row.status} already; take the next one", state=row.status)
        number, row.number = row.number, None
        row.status, row.reason, row.ended_at, row.leased_until = Status.SKIPPED, reason, timezone.now(), None
        row.save()
        if number is not None:
            taking.free(row, number)
    return row


def remove(annotator: CampaignAnnotator) -> None:
    """They are asked nothing more. What they answered stays; what they have goes to others, and what they entered is
    kept, for they may come back."""
    with transaction.atomic():
        if annotator.removed_at is None:
            annotator.removed_at = timezone.now()
            annotator.save(update_fields=["removed_at"])
        for row in annotator.assignments.select_for_update(of=("self",)).filter(status=Status.LEASED):
            number, row.number, row.status, row.leased_until = row.number, None, Status.LEFT, None
            row.save(update_fields=["number", "status", "leased_until"])
            if number is not None:
                taking.free(row, number)


def answers_of(row: Assignment) -> dict[str, dict[str, Any]]:
    """By metric, what was handed in, as it stands."""
    scores = Score.objects.filter(
        project_id=row.project_id, rater=row.holder.rater, occasion=occasion_of(row), detail__assignment=row.pk
    ).select_related("metric")
    return {
        score.metric.name: {"answer": score.detail.get("answer"), "outcome": score.outcome, "comment": score.reason}
        for score in standing(scores)
    }


def wrong(row: Assignment, given: HandedIn) -> list[dict[str, Any]]:
    """In training, what was expected otherwise, and why; nothing of any other item, which must not be known."""
    if row.item.kind != CampaignItem.Kind.TRAINING:
        return []
    return [
        {"metric": name, "expected": expected, "why": row.item.why}
        for name, expected in row.item.expected.items()
        if given.answers.get(name, {}).get("answer") != expected
    ]


def _locked(assignment: Assignment) -> Assignment:
    """As it is now; nobody else changes it before the transaction is over."""
    rows = Assignment.objects.select_for_update(of=("self",))
    return rows.select_related("item", "campaign", "annotator__rater").get(pk=assignment.pk)


def _gone() -> Refusal:
    line = (
        "you were away, and somebody else has this item now; what you entered is kept, and comes back if it is free "
        "again. Take the next one"
    )
    return Refusal(409, line, state=Status.LEFT)


def _score(row: Assignment, given: HandedIn) -> None:
    """All of it, or nothing. Raises `Refusal`, 422, that names the metric."""
    asked = reading.metrics_of(row)
    by_name = {metric.name: metric for metric in asked}
    unknown = sorted(given.answers.keys() - by_name.keys())
    if unknown:
        raise Refusal(422, f"{unknown[0]!r} is not asked of this item; it asks {', '.join(by_name) or 'nothing'}")
    answered = {name: told for name, told in given.answers.items() if told}
    for metric in asked:
        if asked_of(metric).required and metric.name not in answered:
            raise Refusal(422, f"{metric.name} has to be answered; where it does not apply, say so", metric=metric.name)
    for name, told in answered.items():
        try:
            _give(row, by_name[name], told, given)
        except ScoreRefused as no:
            raise Refusal(422, str(no), metric=name) from None


def _give(row: Assignment, metric: Metric, told: Mapping[str, Any], given: HandedIn) -> None:
    outcome = told.get("outcome", "scored")
    if outcome != "scored" and outcome not in OUTCOMES:
        raise ScoreRefused(f"{metric.name}: the outcome {outcome!r} is none; there are: scored, {', '.join(OUTCOMES)}")
    comment = told.get("comment", "")
    if not isinstance(comment, str) or len(comment) > bounds.MAX_LINE or not bounds.storable(comment):
        raise ScoreRefused(f"{metric.name}: a comment is a text of at most {bounds.MAX_LINE:,} characters")
    target, target_id = target_of(row.item, metric, given.swapped)
    detail: dict[str, Any] = {"campaign": row.campaign.name, "assignment": row.pk, "seconds": round(given.seconds, 1)}
    if given.heard is not None:
        detail["heard"] = round(min(max(given.heard, 0.0), 1.0), 3)
    if metric.name in given.suggested:
        before = given.suggested[metric.name]
        detail["suggested"], detail["changed"] = before, before != told.get("answer")
    made = reading.made_text(row.item, metric)
    answer(
        metric, row.holder.rater, target, target_id,
        RaterAnswer(told.get("answer"), OUTCOMES.get(outcome, Outcome.SCORED), comment, made),
        occasion=occasion_of(row), detail=detail,
    )  # fmt: skip


def occasion_of(row: Assignment) -> str:
    """What tells a score of a campaign, and of a hidden repeat in it, from others of the same rater."""
    return f"campaign:{row.campaign_id}" + (f"#{row.occasion}" if row.occasion > 1 else "")


def target_of(item: CampaignItem, metric: Metric, swapped: bool) -> tuple[Target, str]:
    """What a score is of: a stage's output is its task's, a pair's is in the order in which it was shown."""
    if metric.takes == Target.TASK:
        return Target.TASK, reading.task_of(item, asked_of(metric).about)
    if item.target == Target.PAIR and swapped:
        return Target.PAIR, " ".join(reversed(item.target_id.split(" ")))
    return Target(item.target), item.target_id
