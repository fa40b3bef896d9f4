"""Voice-to-voice at the talk page beside the command line's client, on the same server in the same run.

    python benchmarks/talk_page.py [--rounds 5] [--pipeline local] [--json FILE]

A server of its own is started in a temporary folder. In turns, so that whatever else the machine does falls on both
alike, the bundled question is asked by `openomni listen` from a file at real-time pace, and in headless Chromium whose
fake microphone plays the same file; one question a session, and a first one of each that is not counted. Both times are
those of the turns' records, measured at the client: from the last user speech sample to the first sample of the reply
above −40 dBFS. What the page itself showed is told, too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Playwright, sync_playwright

from openomni.bench import machine
from openomni.media import Audio

OPENOMNI = [sys.executable, "-m", "openomni.cli.main"]
PATIENCE_S = 120.0
BEFORE_S, AFTER_S = 1.5, 20.0


@contextlib.contextmanager
def server(folder: Path) -> Iterator[dict[str, str]]:
    """`openomni up`, warm; its address and token."""
    ready = folder / "ready.json"
    arguments = ["up", "--data-dir", str(folder / "data"), "--port", "0", "--ready-file", str(ready)]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen([*OPENOMNI, *arguments], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not ready.is_file():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"openomni up did not start: {(folder / 'up.log').read_text()[-500:]}")
            time.sleep(0.1)
        yield json.loads(ready.read_text())
    finally:
        process.terminate()
        process.wait(45)


def sounds(folder: Path) -> tuple[Path, Path]:
    """The question with silence around it: for the command line at 16 kHz, for the browser at 48 kHz."""
    question = Audio.load(Path(str(resources.files("openomni.cli") / "data" / "question.wav")))
    made = []
    for rate, after in ((16_000, 2.0), (48_000, AFTER_S)):
        said = question.resample(rate).samples
        silence = [np.zeros(round(seconds * rate), np.float32) for seconds in (BEFORE_S, after)]
        made.append(folder / f"question-{rate}.wav")
        Audio(np.concatenate([silence[0], said, silence[1]]), rate).save(made[-1])
    return made[0], made[1]


def by_command_line(folder: Path, up: dict[str, str], pipeline: str, sound: Path) -> float:
    out = folder / "turns.json"
    subprocess.run(
        [*OPENOMNI, "listen", "--source", f"file:{sound}", "--pipeline", pipeline, "--wait", "--json", str(out)],
        env={**os.environ, "OPENOMNI_SERVER": up["url"], "OPENOMNI_TOKEN": up["token"]}, cwd=folder,
        timeout=PATIENCE_S, check=True, capture_output=True,
    )  # fmt: skip
    (turn,) = json.loads(out.read_text())["turns"]
    assert turn["heard_at"] == "client"
    return float(turn["voice_to_voice_s"])


def launch(playwright: Playwright, sound: Path) -> Browser:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium here; Debian, Ubuntu: apt install chromium")
    flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags.append(f"--use-file-for-fake-audio-capture={sound}%noloop")
    return playwright.chromium.launch(executable_path=chromium, args=flags)


def by_page(
    playwright: Playwright, folder: Path, up: dict[str, str], pipeline: str, sound: Path
) -> tuple[float, float]:
    """What the turn's record says, and what the page showed."""
    environment = {**os.environ, "OPENOMNI_DATA_DIR": str(folder / "data")}
    link = subprocess.run([*OPENOMNI, "api", "sign-in"], env=environment, capture_output=True, text=True, check=True)
    browser = launch(playwright, sound)
    try:
        page = browser.new_context(base_url=up["url"]).new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(link.stdout.strip())
        page.goto(f"/talk/?pipeline={pipeline}")
        page.get_by_label("I agree that this is recorded").check()
        page.get_by_role("button", name="Talk", exact=True).click()
        turn = page.locator('[data-voice-to-voice][data-heard-at="client"]')
        turn.wait_for()
        told = turn.get_attribute("data-recorded"), turn.get_attribute("data-voice-to-voice")
        page.get_by_role("button", name="End", exact=True).click()
        page.locator("#session-link").wait_for()
    finally:
        browser.close()
    return float(told[0] or "nan"), float(told[1] or "nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pipeline", default="local")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    line, page, shown = [], [], []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        for_line, for_page = sounds(folder)
        with server(folder) as up:
            for number in range(given.rounds + 1):
                here = by_command_line(folder, up, given.pipeline, for_line)
                there, told = by_page(playwright, folder, up, given.pipeline, for_page)
                counted = "" if number else " (not counted)"
                print(f"command line {here:.3f} s, page {there:.3f} s, shown {told:.3f} s{counted}", flush=True)
                if number:
                    line.append(here)
                    page.append(there)
                    shown.append(told)
    figures = {
        "command_line_p50_s": statistics.median(line),
        "page_p50_s": statistics.median(page),
        "page_shown_p50_s": statistics.median(shown),
        "difference_p50_s": statistics.median(page) - statistics.median(line),
    }
    for figure, value in figures.items():
        print(f"{figure}  {value:.3f}")
    if given.json:
        settings = {"rounds": given.rounds, "pipeline": given.pipeline}
        given.json.write_text(
            json.dumps({"figures": figures, "machine": machine.describe(), "settings": settings}, indent=2)
        )


if __name__ == "__main__":
    main()
