"""The look of the house: each page is accessible in light and dark, fits a phone, works by keyboard, and is small."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from pages.support import THEMES, Site

Visit = Callable[..., Page]
Axe = Callable[[Page], None]
Shots = Callable[..., object]

STRANGERS = {"sign-in": ("/admin/login/?next=/", 200), "link-used-up": ("/sign-in/nothing/", 410)}
MEMBERS = {"look": ("/look/", 200), "not-found": ("/nowhere/", 404)}
ADMIN = {
    "data": "/admin/",
    "data-turns": "/admin/conversations/turn/?project=full",
    "data-turn": "/admin/conversations/turn/turn-session-0-0/change/",
    "data-pipelines": "/admin/pipelines/pipeline/",
    "data-password": "/admin/password_change/",
}
LIMIT = 300_000
"""Bytes of script and style of a page."""


@pytest.fixture(scope="module", autouse=True)
def filled(site: Site) -> None:
    site.fill("pages.rows:much", 8, 4)


@pytest.mark.parametrize("name", STRANGERS)
def test_a_strangers_page(name: str, visit: Visit, axe: Axe, shots: Shots) -> None:
    path, status = STRANGERS[name]
    page = visit(path, signed_in=False, status=status)
    shots(page, name)
    in_both_themes(page, axe)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_members_page(name: str, visit: Visit, axe: Axe, shots: Shots) -> None:
    path, status = MEMBERS[name]
    page = visit(path, status=status)
    shots(page, name)
    in_both_themes(page, axe)


@pytest.mark.parametrize("name", ADMIN)
def test_a_page_of_the_admin_is_of_the_same_house(name: str, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit(ADMIN[name])
    shots(page, name, reload=True)
    in_both_themes(page, axe, reload=True)
    assert page.get_by_role("link", name="Start", exact=True).count()


def in_both_themes(page: Page, axe: Axe, reload: bool = False) -> None:
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        if reload:
            page.reload()
        axe(page)
