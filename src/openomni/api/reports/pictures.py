"""How figures are spread, drawn: a box a row, all of one chart on one scale, and outcomes as a bar."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .outcomes import OUTCOMES

WIDTH = 1000
"""Of a drawing, in its own units: it is as wide as the page lets it."""
WORDS = {
    "on_time": "on time", "late": "late", "early": "early: it talked over the person", "interrupted": "interrupted",
    "unanswered": "unanswered", "failed": "failed", "cancelled": "cancelled", "missing": "missing: not over, or lost",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Box:
    """A row of a chart. Places are in units of the drawing; `beyond`: the largest value lies outside of it."""

    label: str
    detail: str
    row: Mapping[str, Any]
    low: float
    q1: float
    middle: float
    q3: float
    p95: float
    high: float
    beyond: bool

    @property
    def width(self) -> float:
        """Of the box: seen, even where there is one value."""
        return max(self.q3 - self.q1, 2.0)


@dataclass(frozen=True, slots=True)
class Chart:
    """Boxes of one figure; `ticks` are the ends and the middle of its axis, in seconds."""

    title: str
    about: str
    boxes: Sequence[Box]
    ticks: Sequence[float]
    zero: float | None
    """Where 0 is, if some of it is early."""


@dataclass(frozen=True, slots=True)
class OutcomeSegment:
    """Of the bar of outcomes."""

    outcome: str
    words: str
    count: int
    share: float
    x: float
    width: float


def chart(title: str, about: str, rows: Iterable[tuple[str, str, Mapping[str, Any]]]) -> Chart | None:
    """Of rows of the report, each with its label and a detail; None without any."""
    rows = list(rows)
    if not rows:
        return None
    # One value that is far out does not press all boxes against the edge.
    end = _round_up(max(row["p99"] for _, _, row in rows))
    begin = min(0.0, *(row["min"] for _, _, row in rows))
    begin = -_round_up(-begin) if begin < 0 else 0.0
    scale = WIDTH / (end - begin)

    def at(value: float) -> float:
        return round(min(max((value - begin) * scale, 0.0), float(WIDTH)), 1)

    boxes = [
        Box(
            label, detail, row, at(row["min"]), at(row["p25"]), at(row["p50"]), at(row["p75"]), at(row["p95"]),
            at(row["max"]), row["max"] > end,
        )
        for label, detail, row in rows
    ]  # fmt: skip
    return Chart(title, about, boxes, (begin, (begin + end) / 2, end), at(0.0) if begin < 0 else None)


def outcome_bar(turns: Mapping[str, int]) -> list[OutcomeSegment]:
    """Those that there are, in the order of `OUTCOMES`."""
    total, x, parts = turns["total"], 0.0, []
    for name in OUTCOMES:
        if count := turns[name]:
            width = WIDTH * count / total
            parts.append(OutcomeSegment(name, WORDS[name], count, count / total, round(x, 1), round(width, 1)))
            x += width
    return parts


def _round_up(value: float) -> float:
    """To a number that is good to read: 1, 2, 4, 5 or 8 with zeros."""
    if value <= 0:
        return 0.001
    power = 10.0 ** math.floor(math.log10(value))
    step = next(step for step in (1, 2, 4, 5, 8, 10) if value <= step * power * (1 + 1e-9))
    return float(step * power)
