"""The look of the house: each page is accessible in light and dark, fits a phone, works by keyboard, and is small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

import openomni.api
from openomni.gateway import proxy
from pages.support import Site

Visit = Callable[..., Page]
Axe = Callable[[Page], None]
Shots = Callable[..., object]

STRANGERS = {"sign-in": ("/admin/login/?next=/", 200), "link-used-up": ("/sign-in/nothing/", 410)}
MEMBERS = {"look": ("/look/", 200), "not-found": ("/nowhere/", 404)}
ADMIN = {
    "data": "/admin/",
    "data-turns": "/admin/records/turn/?project=full",
    "data-turn": "/admin/records/turn/turn-session-0-0/change/",
    "data-pipelines": "/admin/pipelines/pipeline/",
    "data-password": "/admin/password_change/",
}
LIMIT = 300_000
"""Bytes of script and style of a page."""


@pytest.fixture(scope="module", autouse=True)
def filled(site: Site) -> None:
    site.fill("pages.rows:much", 3, 4)


@pytest.mark.parametrize("name", STRANGERS)
def test_a_strangers_page(name: str, visit: Visit, axe: Axe, shots: Shots) -> None:
    path, status = STRANGERS[name]
    page = visit(path, signed_in=False, status=status)
    shots(page, name)
    axe(page)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_members_page(name: str, visit: Visit, axe: Axe, shots: Shots) -> None:
    path, status = MEMBERS[name]
    page = visit(path, status=status)
    shots(page, name)
    axe(page)


@pytest.mark.parametrize(
    "name", [name if name == "data-turn" else pytest.param(name, marks=pytest.mark.long) for name in ADMIN]
)
def test_a_page_of_the_admin_is_of_the_same_house(name: str, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit(ADMIN[name])
    shots(page, name, reload=True)
    axe(page, reload=True)
    assert page.get_by_role("link", name="Start", exact=True).count()


PEOPLE = {
    "choose-password": ("/password/", "researcher", "", 200),
    "no-project": ("/", "", "correct horse battery", 403),
    "viewers-first": ("/", "viewer", "correct horse battery", 200),
}


@pytest.mark.parametrize("name", PEOPLE)
def test_a_page_that_the_owner_does_not_see(name: str, site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    path, role, password, status = PEOPLE[name]
    session = site.fill("pages.rows:session_of", name, role, password)
    page = visit("/look/")
    page.context.clear_cookies()
    page.context.add_cookies([{"name": "openomni_session", "value": session, "url": site.url}])
    answer = page.goto(path)
    assert answer is not None
    assert answer.status == status
    shots(page, name)
    axe(page)


def test_a_viewer_is_shown_no_paths_of_the_server_and_no_way_to_make_tokens(site: Site, visit: Visit) -> None:
    session = site.fill("pages.rows:session_of", "reader", "viewer", "correct horse battery")
    with httpx.Client(base_url=site.url, cookies={"openomni_session": session}, trust_env=False) as client:
        page = client.get("/").text
    assert str(site.server.data_dir) not in page
    assert "/admin/accounts/token/add/" not in page


def test_a_wrong_password_is_said_at_the_form(visit: Visit, axe: Axe) -> None:
    page = visit("/admin/login/?next=/look/", signed_in=False)
    page.get_by_label("Username").fill("owner")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("enter the correct username and password")
    axe(page)
    page.get_by_label("Username").fill("owner")
    page.get_by_label("Password").fill("correct horse battery")
    page.keyboard.press("Enter")
    expect(page).to_have_url("/look/")


def test_the_gateways_own_page_has_the_icon_of_the_others() -> None:
    icon = Path(openomni.api.__file__).parent / "look/static/openomni/icon.svg"
    assert icon.read_text().strip() == proxy.ICON
    assert proxy.ICON in proxy.away_page()


def test_what_the_gateway_shows_while_the_api_restarts(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit("/look/")
    # It asks for the page that it stands for; the address here answers, and so it goes there.
    page.route("**/*", lambda route: route.fulfill(status=502, body=proxy.away_page(), content_type="text/html"))
    page.goto("/look/")
    shots(page, "one-moment")
    axe(page)
    page.unroute_all()
    expect(page.get_by_role("heading", name="The look of every page")).to_be_visible(timeout=20_000)


def test_an_address_that_is_no_name_is_told_so(site: Site) -> None:
    answer = httpx.get(f"{site.url}/", headers={"Host": "not_a_name"}, trust_env=False)
    assert answer.status_code == 400
    assert "did not understand" in answer.text
    assert "OPENOMNI_ALLOWED_HOSTS" in answer.text


def test_a_form_without_its_token_changes_nothing_and_says_so(site: Site) -> None:
    answer = httpx.post(
        f"{site.url}/password/", cookies={"openomni_session": site.cookies[0]["value"]}, trust_env=False
    )
    assert answer.status_code == 403
    assert "This form was not sent from a page of ours" in answer.text


# ---- by keyboard ---------------------------------------------------------------------------------------------


def test_the_first_tab_skips_to_the_content(visit: Visit) -> None:
    page = visit("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Talk now").first).to_be_focused()


def test_one_switch_is_for_our_pages_and_the_admin(visit: Visit) -> None:
    page = visit("/", color_scheme="light")
    switch = page.get_by_role("button", name="Dark theme")
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.focus()
    page.keyboard.press("Enter")
    expect(switch).to_have_attribute("aria-pressed", "true")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(18, 18, 24)"
    page.goto("/admin/")
    expect(page.locator("html")).to_have_class("dark")
    # And back, with the admin's own switch.
    page.get_by_text("owner", exact=True).click()
    page.get_by_text("Light", exact=True).click()
    expect(page.locator("html")).to_have_class("light")
    page.goto("/")
    assert page.evaluate(ground) == "rgb(247, 247, 250)"


def test_a_question_mark_shows_the_keys_of_the_page_and_can_be_turned_off(visit: Visit) -> None:
    page = visit("/look/")
    help_ = page.get_by_role("dialog", name="Keys on this page")
    page.keyboard.press("?")
    expect(help_).to_be_visible()
    expect(help_).to_contain_text("talk while it is held")
    page.keyboard.press("Escape")
    expect(help_).to_be_hidden()
    page.get_by_role("button", name="Keyboard help").press("Enter")
    page.get_by_label("Keys without Ctrl or Alt do this").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("?")
    expect(help_).to_be_hidden()


# ---- what is sent --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/look/", "/admin/login/", "/talk/", "/conversations/", "/pipelines/", "/agents/"]
)
def test_script_and_style_of_a_page_are_small(path: str, visit: Visit) -> None:
    page = visit(path, signed_in="login" not in path)
    sizes = page.evaluate(SIZES)
    assert sizes
    assert sum(sizes.values()) < LIMIT, sizes


SIZES = """() => Object.fromEntries(performance.getEntriesByType("resource")
    .filter(each => /\\.(js|css)$/.test(new URL(each.name).pathname)).map(each => [each.name, each.decodedBodySize]))"""


def test_the_server_says_when_it_broke(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    """Last, for it stays broken."""
    site.fill("pages.rows:without_a_table")
    page = visit("/", status=500)
    expect(page.get_by_role("heading")).to_have_text("Something broke on the server")
    shots(page, "broken")
    axe(page)
