"""What a browser's tests share: a server with somebody signed in, axe, and pictures of a page."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

from api.support import LiveServer
from prepared import DATABASE

ALL = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""What of `ALL` a theme changes."""
AXE = Axe().axe_script
SIZES = {"wide": (1440, 900), "phone": (390, 844)}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
TESTS = Path(__file__).parents[1]
WRITER = """
import importlib, json, pathlib, sys
from openomni.api.bootstrap import setup
setup(pathlib.Path(sys.argv[1]))
for line in sys.stdin:
    module, name, arguments = json.loads(line)
    print(json.dumps(getattr(importlib.import_module(module), name)(*arguments)), flush=True)
"""
"""Writes rows until nobody asks for more."""


@dataclass
class Site:
    """A server of its own, the cookies of its owner, and its address."""

    server: LiveServer
    cookies: list[dict[str, str]]

    @classmethod
    def of(cls, server: LiveServer) -> Site:
        """With the owner signed in."""
        made = cls(server, [])
        session = made.fill("pages.rows:session_of_owner")
        made.cookies.append({"name": "openomni_session", "value": session, "url": server.url})
        return made

    @property
    def url(self) -> str:
        return self.server.url

    def context(self, browser: Browser, *, signed_in: bool = True, **options: Any) -> BrowserContext:
        """A browser's profile, with the owner signed in. Options are Playwright's: viewport, permissions, …"""
        context = browser.new_context(base_url=self.url, **options)
        if signed_in:
            context.add_cookies(self.cookies)  # type: ignore[arg-type]
        return context

    def fill(self, function: str, *arguments: Any) -> Any:
        """Runs `module:function` of the tests on this server's database, in a process beside this one, for the ORM
        can't be used beside a browser. Arguments and what it returns are JSON; a module is named as `pages.rows`."""
        writer = self._writer
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(json.dumps([*function.split(":"), arguments]) + "\n")
        writer.stdin.flush()
        answer = writer.stdout.readline()
        assert answer, f"{function} failed; its traceback is among the errors of this test"
        return json.loads(answer)

    @cached_property
    def _writer(self) -> subprocess.Popen[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENOMNI_", "DATABASE_URL"))}
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, str(self.server.data_dir)], text=True,
            env={**kept, "PYTHONPATH": os.pathsep.join((str(TESTS), *sys.path))},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def keep(self) -> None:
        """Keeps the rows as they are now, to be put back."""
        self._copy(self.server.data_dir / DATABASE, self._kept)

    def put_back(self) -> None:
        """Under the server as it runs: in one transaction, as any other that writes."""
        self._copy(self._kept, self.server.data_dir / DATABASE)

    @property
    def _kept(self) -> Path:
        return self.server.data_dir.with_suffix(".kept")

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target, timeout=20)) as written:
            read.backup(written)

    def close(self) -> None:
        if "_writer" in vars(self):
            self._writer.communicate(timeout=15)


def assert_accessible(page: Page, reload: bool = False) -> None:
    """axe finds no serious or critical fault (WCAG 2.2 AA) on the page, in light and in dark. `reload`: for the admin,
    which looks at the system's theme only when it is loaded."""
    for theme in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        if reload:
            page.reload()
        # Themes differ in their colours.
        assert_accessible_as_it_is(page, ALL if theme == THEMES[0] else COLOURS)


def assert_accessible_as_it_is(page: Page, asked: dict[str, Any] = ALL) -> None:
    """In the theme that it has: for what passes too soon to be looked at twice."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    options = json.dumps({"runOnly": asked, "resultTypes": ["violations"]})  # the others cost more than what is sought
    found = page.evaluate(f"axe.run(document, {options}).then(found => found.violations)")
    faults = [
        f"{fault['id']} ({fault['impact']}): {fault['help']}\n    {' '.join(node['target'][:1])}: {node['html'][:160]}"
        f"\n    {node.get('failureSummary', '').replace(chr(10), ' ')}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:6]
    ]
    assert not faults, f"{page.url}\n" + "\n".join(faults)


def assert_fits(page: Page) -> None:
    """Nothing scrolls sideways."""
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    over = """() => [...document.querySelectorAll("body *")].filter(each => each.getBoundingClientRect().right
        > document.documentElement.clientWidth + 1).slice(0, 5).map(each => each.outerHTML.slice(0, 120))"""
    assert wide <= inner, f"{page.url} is {wide} px wide in a window of {inner}: {page.evaluate(over)}"


def take_pictures(page: Page, name: str, folder: Path | None, reload: bool = False) -> None:
    """The page wide and on a phone, each checked to fit; where there is a folder, pictures of it, light and dark: the
    theme follows the system's. `reload`: for the admin, which looks at that only when it is loaded."""
    before = page.viewport_size
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        assert_fits(page)
        for theme in THEMES if folder else ():
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            if reload:
                page.reload()
            page.screenshot(path=folder / f"{name}-{size}-{theme}.png", full_page=True)
    if before is not None:
        page.set_viewport_size(before)
