"""What the pages' policy forbids doesn't happen, and no page needs it. `visit` fails where one does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from pages.support import Site


def test_the_rest_interface_is_shown_within_the_policy(visit: Callable[..., Page]) -> None:
    page = visit("/api/v1/docs")
    expect(page.get_by_role("link", name="/api/v1/sessions", exact=True).first).to_be_visible(timeout=20_000)


@pytest.mark.parametrize("path", ["/", "/pipelines/new/", "/conversations/", "/agents/", "/talk/", "/admin/"])
def test_a_page_needs_nothing_that_is_forbidden(visit: Callable[..., Page], path: str) -> None:
    visit(path).wait_for_load_state("load")


def test_script_and_style_that_stand_in_a_page_do_nothing(browser: Browser, site: Site) -> None:
    context = site.context(browser)
    try:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda each: said.append(each.text))
        page.goto("/")
        mark = '<p id="planted" style="color: rgb(1, 2, 3)"></p><img src="/none" onerror="window.ran = true">'
        with page.expect_console_message(lambda each: "inline event handler" in each.text):
            page.evaluate("mark => document.body.insertAdjacentHTML('beforeend', mark)", mark)
        assert page.evaluate("getComputedStyle(document.getElementById('planted')).color") != "rgb(1, 2, 3)"
        assert page.evaluate("window.ran") is None
        assert any("Content Security Policy" in each for each in said)
    finally:
        context.close()
