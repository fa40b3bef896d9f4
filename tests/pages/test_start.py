"""The first page in its states: new, well, full, failing; it leads on, and says by itself what changes."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from api.support import start_server, stop_server
from openomni.api import secrets
from openomni.api.ground.loop_thread import LoopThread
from openomni.bus.credentials import Authority
from openomni.bus.server import EmbeddedServer
from pages.support import Site

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, Callable[[], None]]]:
    """A real bus: its data folder, its address, and what stops it."""
    data = tmp_path_factory.mktemp("with-bus") / "data"
    server, ready = EmbeddedServer(data, Authority(secrets.ensure(data).bus)), threading.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await asyncio.Event().wait()

    thread = LoopThread("nats", serve)
    thread.start()
    assert ready.wait(20)
    yield data, server.url, thread.stop
    thread.stop()


@pytest.fixture(scope="module")
def site(bus: tuple[Path, str, Callable[[], None]]) -> Iterator[Site]:
    """With a bus, unlike that of the other modules."""
    server = start_server(bus[0], OPENOMNI_BUS_URL=bus[1])
    try:
        with closing(Site.of(server)) as made:
            yield made
    finally:
        stop_server(server)


# In this order: the server is new at first, and its bus dies at last.


def test_a_new_server_says_what_is_missing_and_what_to_do(
    visit: Visit, axe: Callable[[Page], None], shots: Callable[..., object]
) -> None:
    page = visit("/")
    health = page.locator("#health")
    expect(health.get_by_role("listitem").filter(has_text="Agents")).to_contain_text("there is none yet")
    expect(health.get_by_role("listitem").filter(has_text="Pipelines")).to_contain_text(
        "local, local-full-window can't run now"
    )
    expect(page.locator("#ready")).to_contain_text("No pipeline can run yet")
    expect(page.locator("main")).to_contain_text("None yet. Each conversation will be here")
    shots(page, "first-empty")
    axe(page)


def test_an_agent_that_comes_is_seen_without_loading_again(site: Site, visit: Visit) -> None:
    page = visit("/")
    expect(page.locator("#ready")).to_contain_text("No pipeline can run yet")
    site.fill("pages.rows:agents_in_default")
    expect(page.locator("#ready")).to_contain_text("Ready: local", timeout=20_000)
    expect(page.locator("#health")).to_contain_text("1 alive and warm: box-0")
    # All but the disk, of which we do not know how full it is here.
    rest = page.locator("#health").get_by_role("listitem").filter(has_not_text="Disk")
    assert [text.split()[0] for text in rest.all_inner_texts()] == ["well"] * 4


def test_a_full_server_shows_the_newest_and_leads_to_the_rest(
    site: Site, visit: Visit, axe: Callable[[Page], None], shots: Callable[..., object]
) -> None:
    site.fill("pages.rows:much", 40, 5)
    page = visit("/?project=full")
    main = page.locator("main")
    assert main.locator("li.conversation").count() == 5
    expect(main).to_contain_text("40 failed within a day")
    expect(main).to_contain_text("5 on the way from a device")
    expect(main).to_contain_text("openomni listen --resume-uploads")
    expect(main).to_contain_text("box-4: a component call never returned")
    expect(main).to_contain_text(re.compile(r"200, 610\.\d MiB|200, 610 MiB"))
    shots(page, "first-full")
    axe(page)


def test_talk_now_is_first_and_every_link_leads_somewhere(site: Site, visit: Visit) -> None:
    page = visit("/?project=full")
    first = page.locator("main").get_by_role("link").first
    assert (first.inner_text(), first.get_attribute("href")) == ("Talk now", "/talk/")
    links = {link.get_attribute("href") or "" for link in page.get_by_role("link").all()}
    for link in sorted(links - {"#main"}):
        assert page.request.get(link).status == 200, link


def test_a_command_is_copied_with_this_servers_address(site: Site, visit: Visit) -> None:
    page = visit("/", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the command that replays a video").click()
    # A browser without a display may have no clipboard; then what is to be copied is selected.
    expect(page.get_by_role("status")).to_contain_text(re.compile("Copied|Selected"))
    if page.get_by_text("Copied").count():
        copied = page.evaluate("navigator.clipboard.readText()")
    else:
        copied = page.evaluate("getSelection().toString()")
    assert copied == f"OPENOMNI_TOKEN=oo_… openomni listen --source file:interview.mp4 --wait --server {site.url}"


def test_when_the_bus_dies_the_page_says_so_by_itself(
    bus: tuple[Path, str, Callable[[], None]],
    site: Site,
    visit: Visit,
    axe: Callable[[Page], None],
    shots: Callable[..., object],
) -> None:
    site.fill("pages.rows:agents_gone")
    page = visit("/?project=default")
    expect(page.locator("#health")).to_contain_text("none is alive")
    bus[2]()
    expect(page.locator("#health")).to_contain_text("does not answer; nobody can talk", timeout=20_000)
    expect(page.locator("#ready")).to_contain_text("No pipeline can run yet")
    shots(page, "first-failing")
    axe(page)
