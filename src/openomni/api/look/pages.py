"""The page that documents the look: each part, when to use it, and its markup."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import get_template
from django.views.decorators.http import require_safe

from .project_page import page


@dataclass(frozen=True, slots=True)
class LookPart:
    """A part of the look: `look/parts/<name>.html` says in its first line, a comment, what it is called and when to use
    it, and goes on with the example that is shown, and whose markup is printed."""

    name: str
    title: str
    when: str
    shown: str
    markup: str


PARTS = (
    "type", "page_head", "buttons", "card", "form", "table",
    "list", "facts", "badges", "notices", "meter",
    "command", "dialog", "keys", "empty",
    "failing", "waterfall", "chart", "player",
)  # fmt: skip

COLOURS = {
    "Surfaces": ("ground", "surface", "sunken", "line", "edge"),
    "Text": ("ink", "soft", "link", "accent"),
    "States": ("good", "warn", "bad", "info"),
    "Series": tuple(f"series-{number}" for number in range(1, 7)),
    "Owners of time": (
        "data-end_of_turn", "data-queue", "data-lost", "data-transfer", "data-load", "data-model", "data-aggregation",
        "data-playback", "data-residue",
    ),
}  # fmt: skip


@require_safe
@page(None)
def parts(request: HttpRequest) -> HttpResponse:
    return render(request, "look/parts.html", {"parts": _parts(), "colours": COLOURS})


@cache
def _parts() -> list[LookPart]:
    return [_part(name) for name in PARTS]


def _part(name: str) -> LookPart:
    found = get_template(f"look/parts/{name}.html")
    source: str = found.template.source  # type: ignore[attr-defined]
    said, _, markup = source.partition("\n")
    title, _, when = said.removeprefix("{# ").removesuffix(" #}").partition(": ")
    return LookPart(name, title, when, found.render(), markup.strip())
