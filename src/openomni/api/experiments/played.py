"""By which players, in which builds, the cells of an experiment were played."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import QuerySet

from ..records.models import Build
from .models import IMPORTED, Cell, Experiment, Pace
from .playing import RECORDING, choice_of


class _Who(NamedTuple):
    """A build, by what tells it from another one, and in words."""

    identity: str = ""
    words: str = ""


@dataclass(slots=True)
class PlayedCells:
    """Cells with the same player, in the same voice."""

    builds: list[str]
    cells: int
    player: str

    @property
    def told(self) -> dict[str, Any]:
        return {"builds": self.builds, "cells": self.cells, "player": self.player}


def spoken_of(cells: QuerySet[Cell]) -> dict[str, int]:
    """By cell that a player played, how many utterances it said in it, which need not be as many as its sample has."""
    own = cells.filter(
        status=Cell.Status.DONE, experiment__pace=Pace.REALTIME, experiment__player__has_key="kind"
    ).exclude(experiment__player__kind=RECORDING)
    return {key: len(played.get("turns", ())) for key, played in own.values_list("pk", "played")}


def players_of(experiment: Experiment) -> list[dict[str, Any]]:
    """By which players its cells were played, and how many each: more than one, where a player, its settings or its
    voice changed in between; on which machine it played makes no other one. None where recordings were played. Of one
    that came from elsewhere it is what was told there."""
    if choice_of(experiment) is None:
        return []
    if IMPORTED in experiment.manifest:
        return list(experiment.manifest[IMPORTED].get("players", ()))
    rows = Cell.objects.filter(experiment=experiment, status=Cell.Status.DONE, repeat__gt=0)
    counts = Counter(tuple(each.get("player", ())) for each in rows.values_list("played", flat=True))
    named = {key for builds in counts for key in builds}
    known = {row.hash: row for row in Build.objects.filter(project_id=experiment.project_id, hash__in=named)}
    found: dict[tuple[str, str], PlayedCells] = {}
    # Those with a voice first: where none was needed, it is not known to be another one.
    for builds, cells in sorted(counts.items(), key=lambda each: -len(each[0])):
        player, voice, *_ = *(_who(known.get(build), build) for build in builds), _Who(), _Who()
        own = (player.identity, voice.identity)
        same = next((key for key in found if key[0] == own[0] and own[1] in ("", key[1])), own)
        words = "; ".join(filter(None, (player.words, voice.words)))
        of = found.setdefault(same, PlayedCells([], 0, words))
        of.builds += [build for build in builds if build not in of.builds]
        of.cells += cells
    labels = Counter(each.player for each in found.values())
    for identities, each in found.items():
        if labels[each.player] > 1:
            each.player += f" ({hashlib.sha256(' '.join(identities).encode()).hexdigest()[:6]})"
    return [each.told for each in sorted(found.values(), key=lambda each: (-each.cells, each.player))]


def _who(row: Build | None, build: str) -> _Who:
    if row is None:
        return _Who(build, build)
    names = ("kind", "component", "package", "package_version", "parameters", "files")
    own = {name: row.content.get(name) for name in names}
    return _Who(json.dumps(own, sort_keys=True), f"{row.kind}:{row.component} {row.package_version}".strip())
