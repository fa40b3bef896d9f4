"""The pages of experiments, in a browser: empty, in the midst of it, done."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from pages.support import Site

Visit = Callable[..., Page]
Axe = Callable[[Page], None]
Shots = Callable[[Page, str], object]


@pytest.fixture(autouse=True)
def empty(site: Site) -> Iterator[None]:
    yield
    site.fill("pages.progress_rows:clear")


def test_without_any_the_page_says_how_to_begin(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit("/experiments/")
    expect(page.get_by_role("heading", name="No experiment yet")).to_be_visible()
    expect(page.locator(".command code")).to_contain_text("openomni experiment run builtin:questions")
    axe(page)
    shots(page, "experiments-empty")


def test_how_far_each_is(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.progress_rows:running")
    page = visit("/experiments/")
    bar = page.locator(".experiments > li").filter(has_text="questions-of-tuesday").get_by_role("meter")
    expect(bar).to_have_attribute("aria-valuetext", "97 of 180 run, 12 queued or running, 3 failed")
    axe(page)
    shots(page, "experiments-full")
    page.get_by_role("link", name="questions-of-tuesday").click()
    expect(page.get_by_role("heading", name="Failed cells")).to_be_visible()
    expect(page.get_by_role("meter")).to_have_count(4)
    expect(page.locator("[data-refresh-switch]")).to_be_checked()
    axe(page)
    shots(page, "experiment-running")
    page.get_by_role("link", name="Cancel …").click()
    expect(page.get_by_role("heading", name="Cancel questions-of-tuesday?")).to_be_visible()
    axe(page)
    shots(page, "experiment-cancel")
