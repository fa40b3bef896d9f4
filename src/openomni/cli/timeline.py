"""A turn as a waterfall: who owned each millisecond from the person's last word to the reply's first sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from ..timeline import LABELS, layout
from .slow_turns import last_pause

COLOURS: Mapping[str, str] = {
    "end_of_turn": "grey58",
    "queue": "yellow3",
    "lost": "white",
    "transfer": "deep_sky_blue1",
    "load": "medium_purple1",
    "model": "spring_green3",
    "aggregation": "sandy_brown",
    "playback": "hot_pink3",
    "residue": "red1",
}
OFF_PATH = "grey30"
"""Work that went on beside the critical path."""
BRIEFEST_S = 0.0005
"""What is shorter is in the sum, and not worth a mark in a lane."""
GUTTER = 24
FIGURE = 10
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class TextBar:
    """A stretch of a lane, in seconds from the last speech sample."""

    start: float
    end: float
    colour: str


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    bars: Sequence[TextBar]
    seconds: float
    """What it owns of the path."""
    note: str = ""


def render(turn: Mapping[str, Any]) -> Timeline:
    """A rich renderable of a turn's JSON (`records.TurnRecord`)."""
    return Timeline(turn)


class Timeline:
    """Fits itself to the console's width: a gutter with names, a lane, a figure."""

    def __init__(self, turn: Mapping[str, Any]) -> None:
        self.turn = turn
        self.layout = layout(turn)
        self.total = self.layout.end_s or turn.get("voice_to_voice_s") or 0.0

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(GUTTER + FIGURE + 20, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width - GUTTER - FIGURE - 1, 10)
        yield self._title(options.max_width)
        yield from self._words()
        if not self.layout.path:
            return
        yield Text("")
        yield self._axis(width)
        for lane in self.lanes():
            yield from self._row(lane, width)
        for label, body in (("sum", self._sum()), ("", self._legend())):
            for number, line in enumerate(body.wrap(console, options.max_width - GUTTER)):
                yield Text.assemble(((label if not number else "").ljust(GUTTER), "bold"), line)

    # ---- what is in it ----

    def lanes(self) -> list[Lane]:
        """One for each owner, and for each stage that worked beside the path."""
        lanes = []
        for row in self.layout.rows:
            owned = [
                TextBar(each.start_s, each.end_s, COLOURS.get(each.what, OFF_PATH))
                for each in row.path
                if each.seconds >= BRIEFEST_S
            ]
            beside = [TextBar(row.work[0].start_s, row.work[-1].end_s, OFF_PATH)] if row.work else []
            if row.status != "superseded" and (beside or owned or row.what == "residue"):
                lanes.append(Lane(row.label.strip(), [*beside, *owned], row.seconds, row.reason))
        return lanes

    # ---- how it looks ----

    def _title(self, width: int) -> Text:
        turn = self.turn
        title = Text(f"Turn {turn.get('index', 0) + 1}", style="bold")
        title.append(f"  {turn.get('pipeline', '')}", style="cyan")
        if turn.get("status") not in ("completed", None):
            title.append(f"  {turn['status']}", style="bold red")
        if turn.get("interrupted"):
            title.append("  interrupted", style="yellow")
        seconds = turn.get("voice_to_voice_s")
        figure = Text(f"voice to voice {_time(seconds)}" if seconds is not None else self._unheard(), style="bold")
        title.append(" " * max(width - title.cell_len - figure.cell_len, 2))
        return title.append_text(figure)

    def _unheard(self) -> str:
        """A queued turn is answered, and nobody waits to hear it."""
        return f"first sound after {_time(self.total)}" if self.layout.path else "not heard"

    def _words(self) -> Iterator[Text]:
        for mark, style, words in (
            ("»", "default", self.turn.get("transcript")),
            ("…", "dim", _end_of_turn(self.turn)),
            ("«", "green", self.turn.get("reply_text")),
            ("!", "red", self.turn.get("reason")),
        ):
            if words:
                line = Text("  ")
                line.append(f"{mark} ", style="dim").append(str(words).strip(), style=style)
                yield line

    def _axis(self, width: int) -> Text:
        line = Text(" " * (GUTTER + width))
        step = _step(self.total, width)
        tick = 0.0
        while tick <= self.total:
            label = _time(tick, bare=True)
            at = GUTTER + round(tick / self.total * width) if self.total else GUTTER
            if at + len(label) <= GUTTER + width:
                line = Text.assemble(line[:at], label, line[at + len(label) :])
            tick += step
        line.stylize("dim")
        return line

    def _row(self, lane: Lane, width: int) -> Iterator[Segment]:
        name = Text(lane.name)
        name.truncate(GUTTER - 2, overflow="ellipsis", pad=True)
        yield Segment(f"{name.plain}  ")
        yield from _lane(lane.bars, self.total, width)
        figure = _time(lane.seconds) if lane.seconds else "beside"
        yield Segment(f"{figure:>{FIGURE}}", Style.parse("default" if lane.seconds else "dim"))
        yield Segment.line()
        if lane.note:
            yield Segment(" " * GUTTER + lane.note, Style.parse("red"))
            yield Segment.line()

    def _sum(self) -> Text:
        line = Text(style="bold")
        shares = self.layout.shares()
        for number, (what, seconds) in enumerate(shares.items()):
            line.append(" + " if number else "", style="dim")
            # A number stays with its name when the line is wrapped.
            figure = f"{LABELS.get(what, what)} {_time(seconds, bare=True)}".replace(" ", "\u00a0")
            line.append(figure, style=f"not bold {COLOURS.get(what, OFF_PATH)}")
        residue = shares.get("residue", 0.0)
        line.append(f" = {_time(self.total)}")
        line.append(f"  ({residue / self.total:.1%} unexplained)" if self.total else "", style="not bold dim")
        return line

    def _legend(self) -> Text:
        line = Text()
        lost = ("lost",) if any(part.what == "lost" for part in self.layout.path) else ()
        for what in ("queue", *lost, "transfer", "load", "model"):
            line.append("■ ", style=COLOURS[what]).append(f"{LABELS.get(what, what)}  ", style="dim")
        return line.append("■ ", style=OFF_PATH).append("beside the path", style="dim")


def _end_of_turn(turn: Mapping[str, Any]) -> str:
    """Why the turn was taken for over; empty where the client said so, and where nothing was thought about it."""
    last = last_pause(turn)
    return "" if last is None or last.finished is None else last.words


def _lane(bars: Sequence[TextBar], total: float, width: int) -> Iterator[Segment]:
    """Cells of the lane, later bars over earlier ones. The right edge of a bar is drawn to an eighth of a cell."""
    cells: list[tuple[str, str]] = [(" ", "")] * width
    for bar in bars:
        start, end = (min(max(at / total, 0.0), 1.0) * width if total else 0.0 for at in (bar.start, bar.end))
        if end <= start:
            continue
        first, whole = int(start), int(end)
        for cell in range(first, min(max(whole, first), width)):
            cells[cell] = ("█", bar.colour)
        eighth = _EIGHTHS[int((end - whole) * 8)] if whole > first or end - start < 1 else " "
        if whole < width and (eighth != " " or whole == first):
            behind = cells[whole][1]
            style = f"{bar.colour} on {behind}" if behind and behind != bar.colour else bar.colour
            cells[whole] = (eighth if eighth != " " else "▏", style)
    for glyph, style in cells:
        yield Segment(glyph, Style.parse(style) if style else None)


def _step(total: float, width: int) -> float:
    """A round number of seconds between ticks that leaves at least twelve cells to each."""
    ticks = max(width // 12, 1)
    for decade in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0):
        for step in (1, 2, 5):
            if total / (step * decade) <= ticks:
                return step * decade
    return max(total, 1.0)


def _time(seconds: float | None, bare: bool = False) -> str:
    """Milliseconds below ten seconds, which is where turns should be."""
    if seconds is None:
        return "–"
    if abs(seconds) >= 10:
        return f"{seconds:.1f}" if bare and seconds else f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f}" if bare else f"{seconds * 1000:.0f} ms"
