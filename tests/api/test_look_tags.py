"""Parts of the look that are more than a line of markup: what they make, and that pages use them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from django.utils.formats import localize

import openomni.api
from openomni.api.look.templatetags.look import code, when

AT = datetime(2026, 11, 6, 8, 5, 9, tzinfo=UTC)


def test_a_moment_is_told_in_one_style_and_to_machines_exactly() -> None:
    assert when(AT) == (
        '<time datetime="2026-11-06T08:05:09+00:00" title="6 Nov 2026, 08:05:09 UTC">6 Nov 2026, 08:05</time>'
    )
    assert ">6 Nov 2026, 08:05:09<" in when(AT, "seconds")


def test_it_is_in_utc_wherever_it_came_from() -> None:
    assert when(AT.astimezone(timezone(timedelta(hours=5)))) == when(AT)


def test_the_admins_moments_are_in_that_style_too() -> None:
    assert localize(AT) == "6 Nov 2026, 08:05"


def test_no_page_has_a_style_of_its_own() -> None:
    templates = [path for path in Path(openomni.api.__file__).parent.rglob("*.html") if "|date:" in path.read_text()]
    assert templates == []


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("take `a` or `b`", "take <code>a</code> or <code>b</code>"),
        ("`<b>`", "<code>&lt;b&gt;</code>"),
        ("a ` b", "a ` b"),
    ],
)
def test_what_stands_between_backticks_is_code(text: str, made: str) -> None:
    assert code(text) == made
