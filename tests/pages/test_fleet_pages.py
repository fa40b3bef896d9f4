"""The pages of the fleet, in a browser: full, empty and failing; fresh without losing what one is at; by keyboard."""

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
    site.fill("pages.fleet_rows:clear")


def test_without_an_agent_the_page_says_how_to_start_one(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit("/agents/")
    expect(page.get_by_role("heading", name="No agent yet")).to_be_visible()
    start, token = page.locator(".command code").all()
    expect(start).to_have_text(f"OPENOMNI_TOKEN=oo_… openomni agent --server {site.url}")
    expect(token).to_contain_text("--scope agent")
    axe(page)
    shots(page, "agents-empty")


@pytest.mark.long
def test_forty_agents_fit_and_each_says_how_it_is(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.fleet_rows:agents", 40)
    page = visit("/agents/")
    cards = page.locator(".agents > li")
    expect(cards).to_have_count(40)
    states = [each.inner_text() for each in page.locator(".agents .badge").all()]
    assert [states.count(each) for each in ("alive", "starting", "draining", "gone")] == [36, 1, 1, 2]
    troubled = [bool(each.locator(".fault").count()) for each in cards.all()]
    assert troubled == sorted(troubled, reverse=True), "who looks for trouble finds it first"
    well = [each.locator(".badge").first.inner_text() for each in cards.all() if not each.locator(".fault").count()]
    assert well == sorted(well, key=["alive", "starting", "draining", "gone"].index)
    sick = cards.filter(has_text="gpu-01")
    expect(sick).to_contain_text("1 component call never returned")
    expect(sick).to_contain_text("answered 503")
    expect(sick.get_by_role("meter")).to_have_attribute("aria-valuetext", "1 of 4 slots busy")
    expect(cards.filter(has_text="box-03")).to_contain_text("too old for this server")
    axe(page)
    shots(page, "agents-full")


def test_where_all_have_gone_the_page_says_so(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.fleet_rows:agents", 3, True)
    page = visit("/agents/")
    # This server has no bus, and the page can tell that from agents that went.
    expect(page.locator(".notice.error")).to_contain_text("The bus is away")
    expect(page.locator(".agents .badge.bad")).to_have_count(3)
    axe(page)
    shots(page, "agents-failing")


@pytest.mark.long
def test_it_refreshes_by_itself_and_leaves_the_reader_where_they_were(site: Site, visit: Visit) -> None:
    first, *_ = site.fill("pages.fleet_rows:agents", 12)
    page = visit("/agents/", viewport={"width": 700, "height": 500})
    link = page.get_by_role("link", name="box-08")
    link.focus()
    link.evaluate("each => { each.kept = true; }")
    scrolled = page.evaluate("scrollY")
    assert scrolled > 0
    site.fill("pages.fleet_rows:agents", 0)
    site.fill("pages.fleet_rows:forget", first)
    expect(page.locator(".agents > li")).to_have_count(11)
    assert link.evaluate("each => each === document.activeElement && each.kept")
    assert page.get_by_role("link", name="box-00").count() == 0


def test_refreshing_can_be_stopped_by_key(site: Site, visit: Visit) -> None:
    page = visit("/agents/")
    control = page.get_by_role("checkbox", name="Refreshes by itself")
    expect(control).to_be_checked()
    page.keyboard.press("r")
    expect(control).not_to_be_checked()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("refreshes by itself, or stops")


@pytest.mark.long
def test_a_server_that_is_away_is_told_and_nothing_vanishes(site: Site, visit: Visit) -> None:
    site.fill("pages.fleet_rows:agents", 2)
    page = visit("/agents/")
    page.route("**/agents/?*part", lambda route: route.abort())
    expect(page.locator("[data-refresh-says]")).to_contain_text("The server does not answer")
    expect(page.locator(".agents > li")).to_have_count(2)
    page.unroute("**/agents/?*part")
    expect(page.locator("[data-refresh-says]")).to_have_text("")


def test_one_agent_in_depth(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    ids = site.fill("pages.fleet_rows:agents", 2)
    page = visit(f"/agents/{ids[1]}/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("gpu-01")
    expect(page.get_by_text("NVIDIA A100 80GB")).to_be_visible()
    medians = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="stt:simulated")).first
    expect(medians).to_contain_text("1.2")
    expect(page.get_by_role("heading", name="Failures of the last day")).to_be_visible()
    offer = page.locator("details", has_text="llm: llama-cpp").first
    offer.locator("summary").press("Enter")
    expect(offer.get_by_role("rowheader", name="max_tokens")).to_be_visible()
    page.get_by_text("The newest tasks").click()
    # What was opened stays open when the part is fetched anew.
    with page.expect_response("**part"):
        pass
    page.wait_for_function("() => document.querySelector('[data-refresh] details').open")
    axe(page)
    shots(page, "agent")


def test_draining_asks_first_and_says_when_it_could_not(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    ids = site.fill("pages.fleet_rows:agents", 2)
    page = visit(f"/agents/{ids[0]}/")
    page.get_by_role("link", name="Drain…").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Drain box-00?")
    axe(page)
    shots(page, "drain")
    page.get_by_role("button", name="Drain it").press("Enter")
    # No bus here, so nobody could be asked.
    expect(page.get_by_role("status").filter(has_text="was not drained")).to_contain_text("without a bus")
