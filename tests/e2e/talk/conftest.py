"""A browser for the talk page, and everything that `openomni up` starts behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from chromium import chromium
from e2e import staging
from e2e.conftest import Installation
from e2e.talk.talker import STATES, Talker
from openomni.media import Audio

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

PATIENCE_MS = 60_000


@pytest.fixture(scope="package")
def made(simulated: Installation) -> Installation:
    short = staging.pipeline("short", tts_s=0.05, reply_s=0.6)
    # The second clause is still being made when the first one is heard: there is something to interrupt.
    long = staging.pipeline("long", tts_s=0.2, reply_s=4.0)
    long["stages"][1]["text"] = "It is Paris. It lies on the Seine. Many people live there."
    sees = staging.pipeline("sees", reply_s=0.6)
    sees["stages"][1]["frames"] = 2
    slow = staging.pipeline("slow", tts_s=4.0, reply_s=0.6)
    fails = staging.pipeline("fails")
    fails["stages"][1]["fail"] = "raise"
    for spec in (short, long, slow, sees, fails):
        spec["stages"][1]["instructions"] = "Be brief."  # without any, it can't speak first
        simulated.put_pipeline(spec)
    return simulated


@pytest.fixture(scope="module")  # no longer: its event loop would be in the way of other folders' tests
def playwright() -> Iterator[Playwright]:
    for package in ("playwright", "axe_playwright_python"):
        pytest.importorskip(package, reason="no browser tests without Playwright and axe; install them: ./setup dev")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture
def visit(
    made: Installation, playwright: Playwright, tmp_path: Path, shots: Callable[..., Any]
) -> Iterator[Callable[..., Talker]]:
    """A browser of its own whose microphone hears `sound`: seconds of silence, or "question". A script's error on the
    page, and what its policy forbids it, fail the test."""
    faults: list[str] = []
    with ExitStack() as stack:

        def opened(pipeline: str, *sound: float | str, where: Installation = made, **options: Any) -> Talker:
            flags = options.pop("flags", ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"])
            if sound:
                loop = "" if options.pop("loop", False) else "%noloop"
                flags = [*flags, f"--use-file-for-fake-audio-capture={_wav(tmp_path / 'said.wav', *sound)}{loop}"]
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", *flags])
            stack.callback(browser.close)
            scripts, base = options.pop("scripts", ()), options.pop("base", where.url)
            context = browser.new_context(base_url=base, **options)
            context.set_default_timeout(PATIENCE_MS)
            for script in (STATES, *scripts):
                context.add_init_script(script)
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda said: "Content Security Policy" in said.text and faults.append(said.text))
            if base == where.url and where.cookies:
                context.add_cookies(where.cookies)
            else:
                signed = where.run("api", "sign-in", OPENOMNI_DATA_DIR=str(where.folder / "data"))
                page.goto(urlsplit(signed.stdout.strip()).path)  # at the address that the test is about
                where.cookies = context.cookies() if base == where.url else []
            page.goto(f"/talk/?pipeline={pipeline}")
            return Talker(where, page, shots)

        yield opened
    assert not faults


def _wav(path: Path, *parts: float | str) -> Path:
    """Questions and silence, as Chromium's fake microphone plays it: 48 kHz, mono."""
    question = Audio.load(staging.QUESTION).resample(48_000).samples
    pieces = [question if part == "question" else np.zeros(round(float(part) * 48_000), np.float32) for part in parts]
    Audio(np.concatenate(pieces), 48_000).save(path)
    return path
