"""The pages of conversations in a browser: heard, followed, read by a screen reader, on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pages.support import Site

Visit = Callable[..., Page]
Axe = Callable[[Page], None]
Shots = Callable[[Page, str], list[Path]]

PLAY = """(address) => new Promise((done, failed) => {
    const video = Object.assign(document.createElement("video"), {src: address, muted: true});
    video.addEventListener("timeupdate", () => { if (video.currentTime > 0.2) done(); });
    video.addEventListener("error", () => failed(video.error));
    document.body.append(video);
    video.play();
})"""
AT = "document.querySelector('audio').currentTime"


@pytest.fixture(autouse=True)
def nothing_left(site: Site) -> None:
    site.fill("pages.conversation_rows:nothing")


def heard(page: Page) -> Page:
    """The page, once its sound is there to be played."""
    expect(page.locator("#waves")).to_be_visible()
    return page


def test_the_list_is_accessible_and_fits_a_phone(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit("/conversations/")
    axe(page)
    shots(page, "conversations-empty")
    site.fill("pages.conversation_rows:conversation", "talk1", "closed", False)
    site.fill("pages.conversation_rows:conversation", "talk2", "lost", False)
    site.fill("pages.conversation_rows:conversation", "talk3", "open", False)
    page.goto("/conversations/")
    assert page.locator("tbody tr").count() == 3
    axe(page)
    shots(page, "conversations-full")
    page.get_by_label("Search what was said").fill("nowhere")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nothing like that was said")).to_be_visible()
    axe(page)
    shots(page, "conversations-nothing")


def test_a_conversation_is_accessible_and_fits_a_phone(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.conversation_rows:conversation")
    page = heard(visit("/conversations/talk1/"))
    page.get_by_text("Where the time went").first.click()
    expect(page.locator(".waterfall .wide svg").first).to_be_visible()
    axe(page)
    shots(page, "conversation-full")
    page.get_by_role("link", name="Run again from here…").first.click()
    expect(page.get_by_label("What was said")).not_to_be_empty()
    axe(page)
    shots(page, "run-again")


@pytest.mark.long
def test_what_went_wrong_is_said(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.conversation_rows:conversation", "talk2", "lost", False)
    page = visit("/conversations/talk2/")
    expect(page.locator("#waiting")).to_contain_text("3 recordings are still on their way")
    expect(page.locator("audio")).to_be_hidden()
    expect(page.get_by_text("llama-cpp: out of memory after 31 tokens")).to_be_visible()
    axe(page)
    shots(page, "conversation-failed")


def test_a_click_on_a_turns_time_plays_from_there(site: Site, visit: Visit) -> None:
    site.fill("pages.conversation_rows:conversation")
    page = heard(visit("/conversations/talk1/"))
    page.get_by_role("button", name="Play from turn 3").click()
    page.wait_for_function(f"() => {AT} > 15.8")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator("#turn-talk1-2")).to_have_class("card turn now")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#play")).to_have_text("Play")


@pytest.mark.long
def test_the_player_works_by_keyboard(site: Site, visit: Visit) -> None:
    site.fill("pages.conversation_rows:conversation")
    page = heard(visit("/conversations/talk1/"))
    slider = page.get_by_role("slider", name="Position in the conversation")
    slider.focus()
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "0:32 of 0:32, turn 4")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "5")
    page.keyboard.press("n")
    expect(slider).to_have_attribute("aria-valuetext", "0:08 of 0:32, turn 2")
    page.keyboard.press("p")
    page.keyboard.press("p")
    page.keyboard.press("Space")
    page.wait_for_function("() => !document.querySelector('audio').paused")
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('audio').paused")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("to the next turn")


def test_what_is_drawn_is_what_sounds(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    """Peaks of 800 stretches a track, not the recording, and the strip of a film over the stretch that it shows."""
    site.fill("pages.conversation_rows:conversation")
    site.fill("pages.conversation_rows:film", "talk1")
    asked: list[str] = []
    page = visit("/conversations/")
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/conversations/talk1/")
    heard(page)
    for track in ("person", "agent"):
        assert page.locator(f".track.{track} path").get_attribute("d").count("M") == 800  # type: ignore[union-attr]
    assert [mark.inner_text() for mark in page.locator(".marks span").all()] == ["1", "2", "3", "4"]
    assert any("/recording/peaks" in url for url in asked)
    assert not any(url.split("?")[0].endswith("/recording") for url in asked), "nothing is loaded before it is played"
    strip = page.get_by_role("img", name="What the camera saw")
    assert strip.evaluate("async (each) => { await each.decode(); return each.naturalWidth; }") == 8 * 160
    strip.click()
    slider = page.get_by_role("slider", name="Position in the conversation")
    expect(slider).to_have_attribute("aria-valuetext", "0:16 of 0:32, turn 3")
    shots(page, "conversation-film")
    axe(page)
    address = page.get_by_role("link", name="play in the browser").get_attribute("href")
    page.evaluate(PLAY, address)
    assert page.evaluate("document.querySelector('video').duration") == pytest.approx(32, abs=1.1)


def test_an_open_conversation_is_followed_to_its_end(site: Site, visit: Visit) -> None:
    site.fill("pages.conversation_rows:conversation", "talk3", "open", True, 2)
    page = heard(visit("/conversations/talk3/"))
    page.get_by_text("Where the time went").first.click()
    expect(page.locator(".waterfall .wide svg")).to_be_visible()
    site.fill("pages.conversation_rows:goes_on", "talk3", 2)
    expect(page.locator("#turn-talk3-2")).to_contain_text("a fox who learned to speak", timeout=20_000)
    expect(page.locator("#news")).to_have_text("Turn 3 began")
    expect(page.locator("#about")).to_contain_text("3 turns")
    expect(page.locator(".waterfall .wide svg")).to_be_visible()
    site.fill("pages.conversation_rows:ends", "talk3")
    expect(page.locator("#about")).to_contain_text("closed", timeout=20_000)
    expect(page.get_by_text("still going on")).to_have_count(0)


def test_its_link_is_copied_and_leads_to_its_project(site: Site, visit: Visit) -> None:
    site.fill("pages.conversation_rows:others_project")
    page = visit("/conversations/theirs/", permissions=["clipboard-read", "clipboard-write"])
    assert page.url.endswith("/conversations/theirs/?project=ward")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f"{site.url}/conversations/theirs/"


def test_who_signs_in_lands_on_the_conversation(site: Site, visit: Visit) -> None:
    site.fill("pages.conversation_rows:conversation", "talk1", "closed", False)
    page = visit("/conversations/talk1/", signed_in=False)
    page.locator("input[name=username]").fill("owner")
    page.locator("input[name=password]").fill("correct horse battery")
    page.keyboard.press("Enter")
    page.wait_for_url("**/conversations/talk1/")
    expect(page.get_by_role("heading", level=1)).to_have_text("“What is the capital of France?”")


@pytest.mark.long
def test_two_hundred_turns_are_shown(site: Site, visit: Visit) -> None:
    site.fill("pages.conversation_rows:conversation", "long", "closed", True, 200)
    page = heard(visit("/conversations/long/"))
    assert page.locator(".turn").count() == 200
    assert page.locator(".waterfall").count() == 0
    page.get_by_role("button", name="Play from turn 150").click()
    page.wait_for_function(f"() => {AT} > 149 * 8 - 0.4")
    # axe has looked at a page of four, and takes a minute here; what differs with their number is only this.
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids)) > 200
