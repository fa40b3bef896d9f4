"""What a campaign's items are of: turns, sessions, groups or pairs, as its selection says."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations
from typing import Any, NamedTuple

from django.db.models import QuerySet

from ...errors import nearest
from ..experiments.models import Cell, Experiment
from ..ground.errors import Refusal, not_found
from ..records.models import Progress, Session, Tag, Tagged, Turn
from ..scores.models import Target
from .spec import CampaignSpec, Known, Selection

MAX_ITEMS = 20_000
MAX_FOUND = 200_000
"""What items are drawn from: all of it is looked at, so that each is drawn with the same chance."""


class FoundItem(NamedTuple):
    """What an item will be of."""

    target: Target
    target_id: str
    about: dict[str, Any]


def found(project_id: str, spec: CampaignSpec) -> list[FoundItem]:
    """In the order of the conversations; `sample` of them, drawn by the seed. Raises `Refusal` for what is unknown,
    and where nothing or too much is found."""
    turns = _turns(project_id, spec.selection)
    match spec.of:
        case "turn":
            every = [_turn(*row) for row in turns.values_list("pk", "session_id")[: MAX_FOUND + 1]]
        case "session":
            keys = turns.order_by("session__created_at", "session").values_list("session", flat=True).distinct()
            every = [FoundItem(Target.SESSION, key, {"session": key}) for key in dict.fromkeys(keys[: MAX_FOUND + 1])]
        case "group":
            every = list(_groups(project_id, spec.selection, turns))
        case _:
            every = list(_pairs(turns))
    if not every:
        raise Refusal(422, f"`from` finds no {spec.of} to annotate; only turns that were completed count")
    if len(every) > MAX_FOUND:
        raise Refusal(422, f"`from` finds more than {MAX_FOUND:,}; narrow it, by since and until, say")
    if spec.sample is not None and spec.sample < len(every):
        kept = sorted(random.Random(spec.seed).sample(range(len(every)), spec.sample))
        every = [every[at] for at in kept]
    if len(every) > MAX_ITEMS:
        raise Refusal(422, f"that would be more than {MAX_ITEMS:,} items; choose fewer, or draw some with `sample`")
    return every


def known(project_id: str, each: Known) -> FoundItem:
    """Of an item whose answers are known. Raises `Refusal`, 404."""
    if each.session:
        if not Session.objects.filter(pk=each.session, project_id=project_id).exists():
            not_found("session", each.session)
        return FoundItem(Target.SESSION, each.session, {"session": each.session})
    keys = [each.turn] if each.turn else list(each.pair)
    rows = dict(Turn.objects.filter(pk__in=keys, project_id=project_id).values_list("pk", "session_id"))
    for key in keys:
        if key not in rows:
            not_found("turn", key)
    return _turn(keys[0], rows[keys[0]]) if each.turn else _pair(keys[0], keys[1], rows[keys[0]])


def _turns(project_id: str, chosen: Selection) -> QuerySet[Turn]:
    rows = Turn.objects.filter(project_id=project_id, status=Progress.COMPLETED)
    if chosen.experiment:
        rows = rows.filter(cell__in=_cells(project_id, chosen.experiment).values("pk"))
    else:
        # Warm-up counts in nothing.
        rows = rows.exclude(cell__in=Cell.objects.filter(project_id=project_id, repeat=0).values("pk"))
    if chosen.pipelines:
        _known_names("pipeline", chosen.pipelines, rows.order_by("pipeline").values_list("pipeline", flat=True))
        rows = rows.filter(pipeline__in=chosen.pipelines)
    if chosen.tags:
        tags = Tag.objects.filter(project_id=project_id)
        _known_names("tag", chosen.tags, tags.values_list("name", flat=True))
        rows = rows.filter(pk__in=Tagged.objects.filter(tag__in=tags.filter(name__in=chosen.tags)).values("turn"))
    for name, keys in (("session", chosen.sessions), ("pk", chosen.turns)):
        if keys:
            rows = rows.filter(**{f"{name}__in": keys})
    if chosen.since is not None:
        rows = rows.filter(created_at__gte=chosen.since)
    if chosen.until is not None:
        rows = rows.filter(created_at__lt=chosen.until)
    return rows.order_by("created_at", "session", "index", "pk")


def _cells(project_id: str, name: str) -> QuerySet[Cell]:
    experiment = Experiment.objects.filter(project_id=project_id, name=name).first()
    if experiment is None:
        not_found("experiment", name, Experiment.objects.filter(project_id=project_id).values_list("name", flat=True))
    return Cell.objects.filter(experiment=experiment, repeat__gt=0)


def _known_names(what: str, wanted: Iterable[str], there: Iterable[str]) -> None:
    names = {*there}
    for name in wanted:
        if name not in names:
            raise Refusal(404, f"`from` names the {what} {name!r}, which has nothing here; {nearest(name, names)}")


def _turn(key: str, session: str) -> FoundItem:
    return FoundItem(Target.TURN, key, {"turn": key, "session": session})


def _pair(first: str, second: str, session: str) -> FoundItem:
    return FoundItem(Target.PAIR, f"{first} {second}", {"turns": [first, second], "session": session})


def _groups(project_id: str, chosen: Selection, turns: QuerySet[Turn]) -> Iterable[FoundItem]:
    """The turns of each tag, by pipeline: a group of several is one to be rated of each."""
    members = Tagged.objects.filter(project_id=project_id, tag__name__in=chosen.tags, turn__in=turns.values("pk"))
    seen: dict[tuple[int, str], list[str]] = defaultdict(list)
    for tag, pipeline, turn in members.order_by("tag__name", "place", "turn__created_at").values_list(
        "tag", "turn__pipeline_hash", "turn"
    ):
        seen[tag, pipeline].append(str(turn))
    for (tag, pipeline), keys in seen.items():
        yield FoundItem(Target.GROUP, f"{tag}:{pipeline}", {"turns": keys})


def _pairs(turns: QuerySet[Turn]) -> Iterable[FoundItem]:
    """Replies of two pipelines to the same utterance; of several runs of each, the first with the first."""
    runs: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    found = turns.exclude(utterance_hash="").values_list("utterance_hash", "pipeline_hash", "pk", "session_id")
    for utterance, pipeline, key, session in found[: MAX_FOUND + 1]:
        runs[utterance][pipeline].append((key, session))
    for by_pipeline in runs.values():
        for one, other in combinations(sorted(by_pipeline), 2):
            for (first, session), (second, _) in zip(by_pipeline[one], by_pipeline[other], strict=False):
                yield _pair(first, second, session)
