"""Where each millisecond of a turn went, as a picture: one row a stage, under the row of the whole turn's owners."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.template.loader import render_to_string

from ...records import TurnRecord
from ...timeline import LABELS, Layout, Stretch, layout


@dataclass(frozen=True, slots=True)
class Form:
    """How a picture is laid out, in its own units. `above`: the labels stand above their bars, not at their left."""

    name: str
    left: float
    width: float
    row: float
    ticks: int
    above: bool

    @property
    def whole(self) -> float:
        return self.left + self.width + 20


WIDE = Form("wide", left=190, width=800, row=26, ticks=6, above=False)
NARROW = Form("narrow", left=0, width=320, row=40, ticks=3, above=True)
"""For a phone: as wide as its screen, so that letters keep their size."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of a row, in the picture's units, with what it stands for."""

    what: str
    x: str
    width: str
    title: str


@dataclass(slots=True)
class PictureRow:
    """A line of the picture: a label at its left, bars along the time."""

    label: str
    note: str
    y: float
    above: bool
    bars: list[Bar] = field(default_factory=list)

    @property
    def text_y(self) -> float:
        return self.y + (12 if self.above else 16)

    @property
    def bar_y(self) -> float:
        return self.y + (17 if self.above else 0)


class _Axis:
    """From seconds to the picture's units."""

    def __init__(self, start: float, end: float, form: Form) -> None:
        self.start, self.seconds, self.form = start, max(end - start, 1e-6), form

    def x(self, second: float) -> float:
        return self.form.left + (second - self.start) / self.seconds * self.form.width

    def bar(self, stretch: Stretch, whose: str) -> Bar:
        what, start, end = stretch.what, stretch.start_s, stretch.end_s
        figures = f"{stretch.seconds * 1000:.1f} ms from {start * 1000:.1f} ms on"
        title = f"{whose} {LABELS.get(what, what)}".strip() + f": {figures}"
        # A tenth of a unit at least, so that what is short is still seen.
        return Bar(what, f"{self.x(start):.2f}", f"{max(self.x(end) - self.x(start), 0.1):.2f}", title)

    def ticks(self) -> Iterator[tuple[str, str]]:
        """Where to write which round number of milliseconds."""
        rough = self.seconds / self.form.ticks
        power = 10.0 ** _exponent(rough)
        steps = [each * power for each in (0.5, 1, 2, 5, 10)]
        fits = next(place for place, step in enumerate(steps) if step >= rough)
        found = self._every(steps[fits])
        for at in found if len(found) > 1 else self._every(steps[fits - 1]):  # one alone is no scale
            yield f"{self.x(at):.2f}", f"{at * 1000:g}"

    def _every(self, step: float) -> list[float]:
        first, last = math.ceil(self.start / step), math.floor((self.start + self.seconds) / step + 1e-9)
        return [count * step for count in range(first, last + 1)]


def draw(turn: TurnRecord) -> str:
    """The turn as an SVG with its legend, for a page; a line of text when nothing of it was timed."""
    laid = layout(msgspec.to_builtins(turn))
    if laid.span is None:
        return render_to_string("records/waterfall.html", {"pictures": []})
    pictures = [_picture(turn, laid, _Axis(*laid.span, form)) for form in (WIDE, NARROW)]
    used = {bar.what for row in pictures[0]["rows"] for bar in row.bars}
    context = {
        "pictures": pictures,
        "legend": [(what, label) for what, label in LABELS.items() if what in used],
        "turn": turn,
        "zero": "the last user speech sample" if turn.segments else "when the answer was asked for",
        "end_of_turn": next((pause.words for pause in turn.pauses if pause.ended), ""),
        "went_on": sum(not pause.ended for pause in turn.pauses),
    }
    return render_to_string("records/waterfall.html", context)


def _picture(turn: TurnRecord, laid: Layout, axis: _Axis) -> dict[str, Any]:
    form, rows = axis.form, list(_rows(laid, axis))
    points = [
        (f"{axis.x(point.at_s):.2f}", f"{point.name}: {point.at_s * 1000:.1f} ms {point.where}".strip())
        for point in turn.time_points
        if axis.start <= point.at_s <= axis.start + axis.seconds
    ]
    bottom = len(rows) * form.row + 6
    return {
        "form": form,
        "rows": rows,
        "ticks": list(axis.ticks()),
        "points": points,
        "bottom": bottom,
        "axis_y": bottom + 16,
        "height": bottom + 24,
    }


def _rows(laid: Layout, axis: _Axis) -> Iterator[PictureRow]:
    form, place = axis.form, 0
    if laid.path:
        note = f"{laid.path[-1].end_s - laid.path[0].start_s:.3f} s"
        yield PictureRow("turn", note, 4.0, form.above, [axis.bar(each, each.stage) for each in laid.path])
        place = 1
    for row in laid.rows:
        if row.work:
            flag = "" if row.status == "completed" else f" · {row.status}"
            bars = [axis.bar(each, row.component) for each in row.work]
            yield PictureRow(f"{row.kind}{flag}", row.component, place * form.row + 4, form.above, bars)
            place += 1


def _exponent(value: float) -> int:
    return int(f"{value:e}".rpartition("e")[2])
