"""The page of a comparison in a browser: its words, its pictures, and two conversations side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from pages.support import Site

Visit = Callable[..., Page]
Axe = Callable[[Page], None]
Shots = Callable[[Page, str], list[Path]]


def test_a_comparison_is_read_and_its_samples_are_heard_side_by_side(
    site: Site, visit: Visit, axe: Axe, shots: Shots
) -> None:
    site.fill("pages.experiment_rows:compared")
    page = visit("/experiments/which/comparison/")
    word = page.locator(".words > li", has_text="local-quick")
    expect(word).to_contain_text("better")
    expect(word).to_contain_text("worse")
    expect(page.get_by_role("img", name="local-quick: −").first).to_be_visible()
    expect(page.get_by_text("Answered differently from repeat to repeat")).to_be_visible()
    axe(page)
    shots(page, "comparison-full")
    page.locator("#samples tbody a").first.click()
    expect(page.locator(".sides audio")).to_have_count(2)
    expect(page.locator(".sides .waterfall").first).to_be_visible()
    axe(page)
    shots(page, "comparison-sample")
    site.fill("pages.experiment_rows:empty")
    page.goto("/experiments/nothing-yet/comparison/")
    expect(page.get_by_role("heading", name="Nothing to compare yet")).to_be_visible()
    axe(page)
    shots(page, "comparison-empty")
