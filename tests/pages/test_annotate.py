"""The workspace in a browser: by keyboard alone, with the line cut, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pages.support import Site

Visit = Callable[..., Page]
Axe = Callable[[Page], None]
Shots = Callable[[Page, str], list[Path]]


@pytest.fixture(autouse=True)
def nothing_left(site: Site) -> None:
    site.fill("pages.annotation_rows:nothing")


def working(page: Page) -> Page:
    """The page, once it has an item."""
    expect(page.locator("#item")).to_be_visible()
    return page


def current(page: Page) -> str | None:
    return page.locator(".question.current").get_attribute("data-metric")


def scores(site: Site) -> list[Any]:
    return list(site.fill("pages.annotation_rows:scores"))


def test_the_pages_are_accessible_and_fit_a_phone(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit("/annotate/")
    axe(page)
    shots(page, "annotate-empty")
    site.fill("pages.annotation_rows:campaign")
    page.goto("/annotate/")
    axe(page)
    shots(page, "annotate-full")
    page.get_by_role("link", name="Begin").click()
    working(page)
    axe(page)
    shots(page, "workspace")
    page.goto("/campaigns/first/")
    axe(page)
    shots(page, "campaign")


def test_a_turn_takes_a_key_a_question_and_one_to_go_on(site: Site, visit: Visit) -> None:
    site.fill("pages.annotation_rows:campaign")
    page = working(visit("/annotate/first/"))
    assert current(page) == "recognition"
    for key in ("4", "3", "5", "4"):
        page.keyboard.press(key)
    expect(page.locator("#done")).to_have_text("0")
    page.keyboard.press("Enter")
    expect(page.locator("#done")).to_have_text("1")
    assert scores(site) == [
        ["recognition", "rated1-0-stt", 4.0], ["generated_text", "rated1-0-llm", 3.0], ["voice", "rated1-0-tts", 5.0],
        ["overall", "rated1-0", 4.0],
    ]  # fmt: skip


def test_a_transcript_is_corrected_in_place(site: Site, visit: Visit) -> None:
    site.fill("pages.annotation_rows:campaign", "first", ["transcript", "overall"])
    page = working(visit("/annotate/first/"))
    page.keyboard.press("c")
    box = page.get_by_label("What did the person say, word for word?")
    expect(box).to_be_focused()
    expect(box).to_have_value("What is the capital of France?")
    for _ in range(len("France?")):
        page.keyboard.press("Backspace")
    page.keyboard.type("Spain?")
    expect(page.locator(".difference del")).to_have_text("France?")
    expect(page.locator(".difference ins")).to_have_text("Spain?")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    expect(page.locator("#done")).to_have_text("1")
    found = {name: value for name, _, value in scores(site)}
    assert found == {"transcript": pytest.approx(1 / 6), "overall": 5.0}


def test_what_is_missing_is_said_and_what_does_not_apply_is_an_answer(site: Site, visit: Visit) -> None:
    site.fill("pages.annotation_rows:campaign", "first", ["overall", "appropriateness"])
    page = working(visit("/annotate/first/"))
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.locator("#trouble")).to_contain_text("Appropriateness is not answered yet")
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    expect(page.locator("#done")).to_have_text("1")
    assert scores(site) == [["overall", "rated1-0", 4.0], ["appropriateness", "rated1-0", ""]]


def test_an_answer_is_taken_back_and_an_item_corrected(site: Site, visit: Visit) -> None:
    site.fill("pages.annotation_rows:campaign", "first", ["overall"])
    page = working(visit("/annotate/first/"))
    page.keyboard.press("1")
    page.keyboard.press("z")
    expect(page.locator(".question [aria-pressed='true']")).to_have_count(0)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.locator("#done")).to_have_text("1")
    page.keyboard.press("b")
    expect(page.locator("#kept")).to_contain_text("You handed this in before")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    expect(page.locator("#kept")).not_to_contain_text("You handed this in before")
    assert scores(site) == [["overall", "rated1-0", 2.0], ["overall", "rated1-0", 3.0]]


def test_what_is_entered_outlives_the_page(site: Site, visit: Visit) -> None:
    site.fill("pages.annotation_rows:campaign", "first", ["overall", "appropriateness"])
    page = working(visit("/annotate/first/"))
    page.keyboard.press("4")
    expect(page.locator("#kept")).to_have_text("Kept.")
    page.reload()
    working(page)
    expect(page.locator("[data-metric=overall] [aria-pressed='true']")).to_contain_text("4")
    assert current(page) == "appropriateness"


def test_what_is_handed_in_while_the_line_is_cut_is_sent_when_it_is_back(site: Site, visit: Visit) -> None:
    site.fill("pages.annotation_rows:campaign", "first", ["overall"])
    page = working(visit("/annotate/first/"))
    page.context.set_offline(True)
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    expect(page.locator("#trouble")).to_contain_text("The line is cut")
    assert scores(site) == []
    page.context.set_offline(False)
    expect(page.locator("#done")).to_have_text("1", timeout=20_000)
    expect(page.locator("#trouble")).to_be_hidden()
    assert scores(site) == [["overall", "rated1-0", 5.0]]


def test_it_plays_from_the_turn_one_track_alone_and_tells_how_much_was_heard(site: Site, visit: Visit) -> None:
    site.fill("pages.annotation_rows:campaign", "first", ["overall"])
    page = working(visit("/annotate/first/"))
    page.keyboard.press("5")
    page.keyboard.press("Enter")  # the second turn begins in the middle of the session
    expect(page.locator("#done")).to_have_text("1")
    audio = "document.querySelector('audio')"
    page.wait_for_function(f"() => {audio}.currentTime > 7")
    page.keyboard.press(" ")
    page.wait_for_function(f"() => {audio}.currentTime > 8.5")
    page.keyboard.press("t")
    expect(page.locator("#hear")).to_have_text("Person alone")
    page.keyboard.press("]")
    expect(page.locator("#speed")).to_have_text("1.25×")
    page.keyboard.press(" ")
    expect(page.locator("#play")).to_contain_text("Play")
    expect(page.locator("#heard")).not_to_have_text("0 % of it was played")
    # Nothing that came after this turn can be heard.
    assert page.evaluate(f"{audio}.duration") < 16


def test_stretches_are_marked_by_a_key_at_their_ends(site: Site, visit: Visit) -> None:
    site.fill("pages.annotation_rows:campaign", "first", ["overall", "turn_events"])
    page = working(visit("/annotate/first/"))
    page.keyboard.press("4")
    page.wait_for_function("() => document.querySelector('audio').readyState > 0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("2")
    expect(page.locator("#kept")).to_contain_text("interruption begins at 0:00.0")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("2")
    expect(page.locator(".marked li")).to_contain_text("interruption, person, 0.0 to 2.0 s")
    expect(page.locator(".waves .spans span")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#done")).to_have_text("1")
    assert scores(site)[1] == ["turn_events", "rated1-0", 1.0]
