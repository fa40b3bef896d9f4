"""An item as whoever annotates it gets it: what is asked, what was said and heard, and nothing else of the project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...events import AXIS_RATE
from ...metrics.scales import Correction
from ..conversations.tracks import ConversationTracks, TurnPlace, places_of, tracks_of
from ..records.models import Progress, Session, Tagged, Task, Turn
from ..scores.models import Metric, Target
from ..scores.stating import asked_of, told
from .models import Assignment, CampaignItem

EARLIER = 12
"""Turns before the one that is rated which are in view."""
BEFORE_S = 0.3
"""Of silence before the person begins."""
AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """A turn as it is shown; `rated`: it is (one of) those that the item is about."""

    turn: Turn
    place: TurnPlace
    rated: bool


def turns_of(item: CampaignItem) -> list[Turn]:
    """Those that it is about, in their order; what was erased meanwhile is missing."""
    match item.target:
        case Target.SESSION:
            found = Turn.objects.filter(session=item.target_id, project_id=item.project_id)
            return list(found.exclude(status=Progress.SUPERSEDED).order_by("index", "created_at"))
        case Target.GROUP:
            tag, _, pipeline = item.target_id.partition(":")
            members = Tagged.objects.filter(tag_id=int(tag), project_id=item.project_id, turn__pipeline_hash=pipeline)
            rows = members.select_related("turn").order_by("place", "turn__created_at")
            return [row.turn for row in rows if row.turn is not None]
        case _:
            keys = item.target_id.split(" ")
            rows_by_key = {row.pk: row for row in Turn.objects.filter(pk__in=keys, project_id=item.project_id)}
            return [rows_by_key[key] for key in keys if key in rows_by_key]


def is_gone(item: CampaignItem) -> bool:
    """Whether what it is about was erased, or a part of it."""
    wanted = {Target.PAIR: 2}.get(Target(item.target), 1)
    return len(turns_of(item)) < wanted


def metrics_of(assignment: Assignment) -> list[Metric]:
    """What is asked of it in its pass, in order: a stage's output only where the turn has that stage."""
    rows = assignment.campaign.metrics.filter(asked_in=assignment.asked_in).select_related("metric")
    metrics = [row.metric for row in rows.order_by("place")]
    kinds = _stages(assignment.item) if any(each.takes == Target.TASK for each in metrics) else set()
    return [
        each
        for each in metrics
        if each.takes == assignment.item.target or (each.takes == Target.TASK and asked_of(each).about in kinds)
    ]


def task_of(item: CampaignItem, kind: str) -> str:
    """The id of the task whose output it is; that of the newest revision. Empty where there is none."""
    found = Task.objects.filter(turn=item.target_id, kind=kind, project_id=item.project_id).exclude(
        status=Progress.SUPERSEDED
    )
    return found.order_by("-revision", "-place").values_list("task_id", flat=True).first() or ""


def made_text(item: CampaignItem, metric: Metric) -> str:
    """What a correction is of: what was recognised, or what was replied. Empty for any other metric."""
    asked = asked_of(metric)
    if not isinstance(asked.scale, Correction) or item.target != Target.TURN:
        return ""
    turn = Turn.objects.filter(pk=item.target_id, project_id=item.project_id).first()
    if turn is None:
        return ""
    return turn.reply_text if asked.about in ("llm", "end_to_end") else turn.transcript


def sound_of(item: CampaignItem, turn: Turn) -> ConversationTracks:
    """What may be heard of a turn's session: all up to where the turn ends, and nothing that came after it. Of a
    session, all of it."""
    session = turn.session
    turns = _up_to(session, turn) if item.target != Target.SESSION else turns_of(item)
    places = places_of(session, turns)
    tracks = tracks_of(session, turns, places)
    return tracks if item.target == Target.SESSION else tracks.up_to(end_of(places[turn.pk], tracks))


def end_of(place: TurnPlace, tracks: ConversationTracks) -> float:
    """Where a turn ends, in seconds of its session: a breath after its last sound."""
    said = [end for end in (place.end_s, place.cut_s) if end is not None]
    if place.reply_s is not None:
        said += [each.end / AXIS_RATE for each in tracks.right if abs(each.start / AXIS_RATE - place.reply_s) < 0.01]
    return max(said, default=0.0) + AFTER_S


def shown(item: CampaignItem) -> list[ShownTurn]:
    """Its turns, and those of the same session before them that are in view."""
    rated = turns_of(item)
    if not rated or item.target in (Target.SESSION, Target.GROUP, Target.PAIR):
        found = []
        for session, turns in _by_session(rated):
            places = places_of(session, turns)
            found += [ShownTurn(turn, places[turn.pk], True) for turn in turns]
        order = {turn.pk: number for number, turn in enumerate(rated)}
        return sorted(found, key=lambda each: order[each.turn.pk])
    turn = rated[0]
    turns = _up_to(turn.session, turn)
    places = places_of(turn.session, turns)
    return [ShownTurn(each, places[each.pk], each.pk == turn.pk) for each in turns[-EARLIER - 1 :]]


def payload(assignment: Assignment, swapped: bool) -> dict[str, Any]:
    """All that the page needs of it, as JSON."""
    item, campaign = assignment.item, assignment.campaign
    turns = shown(item)
    if swapped and item.target == Target.PAIR:
        turns.reverse()
    return {
        "assignment": assignment.pk, "campaign": campaign.name, "asked_in": assignment.asked_in,
        "status": assignment.status, "training": item.kind == CampaignItem.Kind.TRAINING, "target": item.target,
        "swapped": swapped, "gone": is_gone(item), "draft": assignment.draft,
        "draft_version": assignment.draft_version, "lease_s": campaign.lease_s,
        "metrics": [{**told(asked_of(each)), "made": made_text(item, each)} for each in metrics_of(assignment)],
        "turns": [_told(each, campaign.blind) for each in turns],
    }  # fmt: skip


def _told(each: ShownTurn, blind: bool) -> dict[str, Any]:
    turn, place = each.turn, each.place
    begins = place.start_s if place.start_s is not None else place.reply_s
    return {
        "turn": turn.pk, "session": turn.session_id, "number": turn.index + 1, "rated": each.rated,
        "transcript": turn.transcript, "reply": turn.reply_text, "interrupted": turn.interrupted,
        "status": turn.status, "pipeline": "" if blind else turn.pipeline,
        "begins_s": None if begins is None else round(max(begins - BEFORE_S, 0.0), 3),
        "spoken_s": place.start_s, "spoken_until_s": place.end_s, "reply_s": place.reply_s, "cut_s": place.cut_s,
    }  # fmt: skip


def _up_to(session: Session, turn: Turn) -> list[Turn]:
    rows = session.turns.filter(index__lte=turn.index).exclude(status=Progress.SUPERSEDED)
    found = [each for each in rows.order_by("index", "created_at") if each.pk == turn.pk or each.index < turn.index]
    return found if any(each.pk == turn.pk for each in found) else [*found, turn]


def _by_session(turns: Sequence[Turn]) -> list[tuple[Session, list[Turn]]]:
    found: dict[str, tuple[Session, list[Turn]]] = {}
    for turn in turns:
        found.setdefault(turn.session_id, (turn.session, []))[1].append(turn)
    return list(found.values())


def _stages(item: CampaignItem) -> set[str]:
    if item.target != Target.TURN:
        return set()
    return set(Task.objects.filter(turn=item.target_id, project_id=item.project_id).values_list("kind", flat=True))
