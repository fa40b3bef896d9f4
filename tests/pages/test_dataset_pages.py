"""The pages of datasets in a browser: read by a screen reader, on a phone, and listened to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from pages.support import Site

Visit = Callable[..., Page]
Axe = Callable[[Page], None]
Shots = Callable[[Page, str], list[Path]]

PLAYED_FROM = """(player) => new Promise((done) => {
    player.muted = true;
    player.addEventListener("timeupdate", () => {
        const from = player.played.length && player.played.start(0);
        if (player.played.length && player.played.end(0) > from) done(from);
    });
    player.play();
})"""


def test_datasets_are_accessible_fit_a_phone_and_are_heard(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit("/datasets/")
    expect(page.get_by_role("heading", name="No dataset yet")).to_be_visible()
    axe(page)
    shots(page, "datasets-empty")
    site.fill("pages.dataset_rows:datasets")
    page.goto("/datasets/")
    axe(page)
    shots(page, "datasets-full")
    page.get_by_role("link", name="lab-questions", exact=True).click()
    expect(page.get_by_text("into the reply, at word 3")).to_be_visible()
    axe(page)
    shots(page, "dataset")
    assert 3.0 <= page.locator("audio").nth(2).evaluate(PLAYED_FROM) < 5.0  # the stretch from 3 s on
    page.get_by_role("link", name="More").click()
    expect(page.get_by_role("heading", name="question-39")).to_be_visible()
    page.get_by_role("link", name="1", exact=True).click()
    expect(page.get_by_text("Version 1: 41 samples")).to_be_visible()
