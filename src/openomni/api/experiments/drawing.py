"""The comparison in pictures: each difference with its interval on a common scale, and latency × accuracy as points.

Places are per cent of the picture, so that it takes any width while letters keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...evaluation.sentences import number

SIDE = 46.0
"""Per cent of the width from 0 to the end of the scale."""


@dataclass(frozen=True, slots=True)
class Whisker:
    """A difference and its interval; empty places where there is none."""

    at: str
    low: str
    high: str
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Of all differences of one metric: symmetrical around 0, with the margin that was stated beforehand."""

    end: float
    unit: str
    margin: tuple[str, str] | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Scale:
        reach = [
            abs(end) for row in entry["pipelines"] for end in row["difference_interval"] or () if math.isfinite(end)
        ]
        reach += [abs(row["difference"]) for row in entry["pipelines"] if row["difference"] is not None]
        margin = entry["margin"]
        end = round_up(max([*reach, margin or 0.0], default=0.0) or 1.0, FINER)
        unit = entry["unit"]
        made = cls(end, unit, None)
        return cls(end, unit, (made.x(-margin), made.x(margin)) if margin else None)

    def x(self, value: float) -> str:
        return percent(50 + SIDE * max(-1.0, min(1.0, value / self.end)))

    def whisker(self, row: Mapping[str, Any]) -> Whisker | None:
        if row["difference"] is None:
            return None
        ends = row["difference_interval"]
        low, high = (self.x(ends[0]), self.x(ends[1])) if ends else ("", "")
        unit = f" {self.unit}" if self.unit else ""
        label = f"{number(row['difference'], signed=True)}{unit}"
        label += f", 95 % interval {number(ends[0])} to {number(ends[1])}{unit}" if ends else ", no interval"
        return Whisker(self.x(row["difference"]), low, high, label)

    @property
    def ticks(self) -> list[tuple[str, str]]:
        ends = (-self.end, 0.0, self.end)
        return [(self.x(each), number(each, signed=True)) for each in ends]


def percent(value: float) -> str:
    return f"{value:.2f}%"


STEPS = (1.0, 2.0, 5.0, 10.0)
FINER = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def round_up(value: float, steps: Sequence[float] = STEPS) -> float:
    """To one of the steps times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(each * power for each in steps if value <= each * power * (1 + 1e-9))


@dataclass(frozen=True, slots=True)
class Dot:
    """A pipeline in the plane, by its number in the list beside the picture."""

    number: int
    x: str
    y: str
    left: str
    right: str
    below: str
    above: str
    dominated: bool


@dataclass(frozen=True, slots=True)
class Plane:
    """Latency to the right, accuracy upwards."""

    dots: list[Dot]
    columns: list[tuple[str, str]]
    rows: list[tuple[str, str]]

    @classmethod
    def of(cls, front: Sequence[Mapping[str, Any]]) -> Plane | None:
        """None where no pipeline has both."""
        shown = [
            (at, each)
            for at, each in enumerate(front, 1)
            if each["latency"] is not None and each["accuracy"] is not None
        ]
        if not shown:
            return None
        across = _Axis.of([each for _, each in shown], "latency", 12, 96)
        upward = _Axis.of([each for _, each in shown], "accuracy", 88, 6)
        dots = []
        for at, each in shown:
            left, right = each["latency_interval"] or (each["latency"],) * 2
            low, high = each["accuracy_interval"] or (each["accuracy"],) * 2
            dots.append(
                Dot(at, across.at(each["latency"]), upward.at(each["accuracy"]), across.at(left), across.at(right),
                    upward.at(low), upward.at(high), (each["probability"] or 0) < 0.5)
            )  # fmt: skip
        return cls(dots, across.ticks(), upward.ticks())


@dataclass(frozen=True, slots=True)
class _Axis:
    """From a figure to per cent: from `low` at `start` to `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def of(cls, points: Sequence[Mapping[str, Any]], axis: str, start: float, end: float) -> _Axis:
        values = [float(value) for each in points for value in (each[axis], *(each[f"{axis}_interval"] or ()))]
        low, high = min(values), max(values)
        room = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
        # What is never below 0 shows no ground below it.
        return cls(max(0.0, low - room) if low >= 0 else low - room, high + room, start, end)

    def at(self, value: float) -> str:
        return percent(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start))

    def ticks(self) -> list[tuple[str, str]]:
        step = round_up((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        values = [each * step for each in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(self.at(value), f"{value:.6g}") for value in values]
