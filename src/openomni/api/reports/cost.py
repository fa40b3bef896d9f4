"""What turns cost, as far as their components say."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ..ground.caller import Caller
from .latency import CHUNK
from .selection import Selection, select


@dataclass(slots=True)
class _Turn:
    """`unknown`: a stage ran and nobody says what it cost."""

    pipeline: tuple[str, str]
    costs: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    unknown: bool = False


def report(caller: Caller, wanted: Selection) -> dict[str, Any]:
    """The JSON of `openomni report cost`: a row for each pipeline and currency. What failed, was interrupted or
    superseded within a turn was paid for, too. Raises `Refusal` for what is too much or isn't there."""
    selected = select(caller, wanted)
    turns = {
        pk: _Turn((pipeline, hash_))
        for pk, pipeline, hash_, given_up, cell, status, origin in selected.turns.values_list(
            "pk", "pipeline", "pipeline_hash", "given_up", "cell", "status", "origin"
        ).iterator(CHUNK)
        if not selected.left_out(wanted, origin, status, cell, given_up)
    }
    for pk, usage, agent in selected.tasks.values_list("turn_id", "usage", "agent").iterator(CHUNK):
        turn = turns.get(pk)
        if turn is None or (usage is None and not agent):
            continue  # what no agent ever took cost nothing
        cost = (usage or {}).get("cost")
        if isinstance(cost, (int, float)) and math.isfinite(cost):
            turn.costs[str((usage or {}).get("currency") or "")] += cost
        else:
            turn.unknown = True
    of_pipelines: defaultdict[tuple[str, str], list[_Turn]] = defaultdict(list)
    for turn in turns.values():
        of_pipelines[turn.pipeline].append(turn)
    return {"rows": [row for key in sorted(of_pipelines) for row in _rows(key, of_pipelines[key])]}


def _rows(key: tuple[str, str], turns: list[_Turn]) -> list[dict[str, Any]]:
    """One a currency; a single one without, where nothing is known to have cost anything."""
    known = [turn for turn in turns if not turn.unknown]
    about = {"pipeline": key[0], "pipeline_hash": key[1], "turns": len(turns)}
    rows = []
    currencies: list[str | None] = [*sorted({each for turn in turns for each in turn.costs})]
    for currency in currencies or [None]:
        cost = None if currency is None else math.fsum(turn.costs[currency] for turn in turns)
        each = None if currency is None or not known else math.fsum(turn.costs[currency] for turn in known) / len(known)
        rows.append(
            {**about, "cost": cost, "currency": currency, "per_turn": each, "unknown": len(turns) - len(known)}
        )  # fmt: skip
    return rows
