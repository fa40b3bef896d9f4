"""A browser, and a server with somebody signed in.

Tests here use no `async def` and no ORM: Playwright runs a loop of its own in this thread. `site.fill` makes rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright", reason="no browser tests without Playwright; install it with: ./setup dev")
pytest.importorskip("axe_playwright_python", reason="no browser tests without axe; install it with: ./setup dev")

from playwright.sync_api import Browser, Page, sync_playwright

from api.support import start_server, stop_server
from chromium import chromium
from pages.support import Site, assert_accessible

ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium with a fake microphone and camera. This folder's, not the session's: while it runs, its loop keeps
    asynchronous tests of other folders from theirs."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The API's pages, served by a process of its own without a bus; its owner is signed in, in the project default."""
    server = start_server(tmp_path_factory.mktemp("site") / "data")
    try:
        with closing(Site.of(server)) as made:
            made.keep()
            yield made
    finally:
        stop_server(server)


@pytest.fixture(scope="module")
def site(shared_site: Site) -> Site:
    """The one server of this folder, with nothing left of what another module filled it with."""
    shared_site.put_back()
    return shared_site


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """`visit(path, signed_in=True, status=200, **options)`: a page in a profile of its own. A script's error
    on it, what its policy forbids it, and a request that leaves the server, fail the test."""
    faults: list[str] = []
    with ExitStack() as stack:

        def opened(path: str, *, signed_in: bool = True, status: int = 200, **options: Any) -> Page:
            context = site.context(browser, signed_in=signed_in, **options)
            stack.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
            page.on("console", lambda said: "Content Security Policy" in said.text and faults.append(said.text))
            page.on("request", lambda request: _is_ours(request.url, site.url) or faults.append(f"asks {request.url}"))
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == status, f"{path}: {answer.status} {answer.text()[:500]}"
            return page

        yield opened
    assert not faults


@pytest.fixture
def axe() -> Callable[[Page], None]:
    return assert_accessible


def _is_ours(url: str, server: str) -> bool:
    there = urlsplit(url)
    return there.scheme in ("data", "blob", "about") or there.netloc == urlsplit(server).netloc
