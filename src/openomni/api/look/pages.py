"""The page that documents the look: each part, when to use it, and its markup."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import get_template, render_to_string
from django.views.decorators.http import require_safe

from ..accounts.models import Role
from .people import page


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the look: the example in `look/parts/<name>.html`, which is shown and whose markup is printed."""

    name: str
    title: str
    when: str

    @property
    def shown(self) -> str:
        return render_to_string(f"look/parts/{self.name}.html")

    @property
    def markup(self) -> str:
        return get_template(f"look/parts/{self.name}.html").template.source.strip()  # type: ignore[attr-defined, no-any-return]


PARTS = (
    Part("type", "Type", "One h1 a page, no level left out. Soft text for what may be skipped, never for what must be read."),
    Part("page_head", "Head of a page", "First on every page: its title, one line on what is here, at the right what to do."),
    Part("buttons", "Buttons", "One primary a view. Danger where something is lost; then ask in a dialog. A link that leads to a page is a link."),
    Part("card", "Card and grid", "What belongs together. A grid of cards for things of one sort; a list or a table for more than a dozen."),
    Part("form", "Fields of a form", "The label above, a hint below, an error in words that say the mend. An error is tied to its field."),
    Part("table", "Table", "What is compared. Numbers at the right, in digits of one width. It scrolls inside, not with the page."),
    Part("list", "List", "What is read one after another."),
    Part("facts", "Facts", "Names and values of one thing."),
    Part("badges", "Badges", "A state in one word. The word says it; the colour only helps."),
    Part("notices", "Notices", "What somebody has to know now. An error is role=alert, and says what, where and the mend."),
    Part("meter", "Meter", "How much of something is used, with the figure in words beside it."),
    Part("tabs", "Tabs", "Views of one thing. Arrow keys go between them; look.js does that."),
    Part("command", "Command to copy", "What to type. The button copies it; over plain http it selects it."),
    Part("steps", "Steps", "What is done in this order."),
    Part("dialog", "Dialog", "To ask before something is lost. Esc closes it, and the focus goes back where it was."),
    Part("keys", "Keys", "data-key names the key of a control, data-does what it does: the help (?) lists those on the page. The page itself listens; to a key without Ctrl or Alt only while data-keys of the root element is not off, for there speech control may be at work."),
    Part("empty", "Empty", "Nothing there yet: why, and the one thing to do."),
    Part("loading", "Loading", "When it takes more than half a second. Said to screen readers once; still for who wants less motion."),
    Part("failing", "Failing", "It did not work: what, where, and the mend. What was typed is kept."),
    Part("waterfall", "Waterfall", "Where each millisecond of a turn went. Made by conversations/waterfall.py; the same colours on every page."),
    Part("chart", "Chart", "Few series: SVG with our classes; more than that: Plotly with the same colours. Dashes and marks tell the series apart, too; the figures are in a table or in the text."),
    Part("player", "Player", "A recording with its tracks: the person left, the agent right, each in its colour."),
)  # fmt: skip

COLOURS = {
    "Surfaces": ("ground", "surface", "sunken", "line", "edge"),
    "Text": ("ink", "soft", "link", "accent"),
    "States": ("good", "warn", "bad", "info"),
    "Series": tuple(f"series-{number}" for number in range(1, 7)),
    "Owners of time": (
        "data-end_of_turn", "data-queue", "data-transfer", "data-load", "data-model", "data-aggregation",
        "data-playback", "data-residue",
    ),
}  # fmt: skip


@require_safe
@page(Role.VIEWER)
def parts(request: HttpRequest) -> HttpResponse:
    return render(request, "look/parts.html", {"parts": _parts(), "colours": COLOURS})


@cache
def _parts() -> list[dict[str, str]]:
    return [
        {"name": part.name, "title": part.title, "when": part.when, "shown": part.shown, "markup": part.markup}
        for part in PARTS
    ]
