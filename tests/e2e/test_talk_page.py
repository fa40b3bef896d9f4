"""The talk page in a real browser with a microphone that plays a file, against everything that `openomni up` starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from e2e import staging
from e2e.conftest import Installation, installation
from openomni.media import Audio

pytest.importorskip("playwright", reason="no browser tests without Playwright; install it with: ./setup dev")
pytest.importorskip("axe_playwright_python", reason="no browser tests without axe; install it with: ./setup dev")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Playwright, sync_playwright

PATIENCE_MS = 60_000
QUESTION = "What is the capital of France?"
CUTTABLE = """
const Real = WebSocket;
window.sockets = [];
window.WebSocket = class extends Real { constructor(...given) { super(...given); window.sockets.push(this); } };
"""
HELD_STREAMS = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.streams = [];
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await ask(wanted);
  window.streams.push(stream);
  return stream;
};
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("talk"), "--offer", staging.EVERYTHING) as running:
        short = staging.pipeline("short", tts_s=0.05, reply_s=0.6)
        # The second clause is still being made when the first one is heard: there is something to interrupt.
        long = staging.pipeline("long", tts_s=0.2, reply_s=4.0)
        long["stages"][1]["text"] = "It is Paris. It lies on the Seine. Many people live there."
        sees = staging.pipeline("sees", reply_s=0.6)
        sees["stages"][1]["frames"] = 2
        for spec in (short, long, sees):
            spec["stages"][1]["instructions"] = "Be brief."  # without any, it can't speak first
            running.put_pipeline(spec)
        yield running


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture
def visit(made: Installation, playwright: Playwright, tmp_path: Path) -> Iterator[Callable[..., Talker]]:
    """A browser of its own whose microphone hears `sound`: seconds of silence, or "question". A script's error on the
    page fails the test."""
    faults: list[str] = []
    with ExitStack() as stack:

        def opened(pipeline: str, *sound: float | str, where: Installation = made, **options: Any) -> Talker:
            flags = options.pop("flags", ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"])
            if sound:
                loop = "" if options.pop("loop", False) else "%noloop"
                flags = [*flags, f"--use-file-for-fake-audio-capture={_wav(tmp_path / 'said.wav', *sound)}{loop}"]
            browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", *flags])
            stack.callback(browser.close)
            scripts, base = options.pop("scripts", ()), options.pop("base", where.url)
            context = browser.new_context(base_url=base, **options)
            context.set_default_timeout(PATIENCE_MS)
            for script in scripts:
                context.add_init_script(script)
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(str(error)))
            signed = where.run("api", "sign-in", OPENOMNI_DATA_DIR=str(where.folder / "data"))
            page.goto(signed.stdout.strip())
            page.goto(f"/talk/?pipeline={pipeline}")
            return Talker(where, page)

        yield opened
    assert not faults


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here for the pages' tests; Debian, Ubuntu: apt install chromium")
    return found


def _wav(path: Path, *parts: float | str) -> Path:
    """Questions and silence, as Chromium's fake microphone plays it: 48 kHz, mono."""
    question = Audio.load(staging.QUESTION).resample(48_000).samples
    pieces = [question if part == "question" else np.zeros(round(float(part) * 48_000), np.float32) for part in parts]
    Audio(np.concatenate(pieces), 48_000).save(path)
    return path


@dataclass
class Talker:
    """Somebody at the talk page."""

    made: Installation
    page: Page

    def begin(self) -> None:
        self.page.get_by_label("I agree that this is recorded").check()
        self.button("Talk").click()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def state(self, name: str) -> None:
        self.page.locator(f'#talk[data-state="{name}"]').wait_for()

    def said(self, side: str, text: str, number: int = 0) -> None:
        """Somebody's line number so and so has this in it."""
        line = self.page.locator(f"#captions .{side}").nth(number)
        line.filter(has_text=text).wait_for()

    def turns(self, count: int) -> list[Any]:
        """The pictures of so many turns that were heard at this loudspeaker."""
        pictures = self.page.locator('[data-voice-to-voice][data-heard-at="client"]')
        pictures.nth(count - 1).wait_for()
        return pictures.all()

    def type(self, text: str) -> None:
        self.page.get_by_label("Type instead of speaking").fill(text)
        self.page.keyboard.press("Enter")

    def end(self) -> str:
        """Ends the session; its id."""
        self.button("End").click()
        link = self.page.locator("#session-link")
        link.wait_for()
        return (link.get_attribute("href") or "").split("/")[2]

    def recorded(self, session: str, count: int) -> list[dict[str, Any]]:
        """The session's turns at the API, oldest first, once there are so many that were heard at the client."""

        def there() -> list[dict[str, Any]]:
            answer = self.made.request("GET", f"/api/v1/turns?session={session}")
            turns = [turn for turn in answer.json()["items"] if turn["heard_at"] == "client"]
            return sorted(turns, key=lambda turn: turn["index"]) if len(turns) >= count else []

        return staging.until(there, f"{count} turns of {session} never came: {self.made.logs()}")

    def accessible(self) -> None:
        found = Axe().run(self.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
        faults = [each for each in found.response["violations"] if each["impact"] in ("serious", "critical")]
        assert not faults, [(each["id"], [node["html"] for node in each["nodes"]]) for each in faults]

    def tab_to(self, target: Locator) -> None:
        """By keyboard alone."""
        for _ in range(60):
            if target.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{target} can't be reached with Tab")


Visit = Callable[..., Talker]


def test_a_spoken_question_is_heard_answered_and_played(visit: Visit) -> None:
    talker = visit("short", 1.0, "question", 60.0)
    talker.accessible()
    talker.begin()
    talker.state("listening")
    talker.accessible()
    talker.said("you", QUESTION)
    talker.said("agent", "It is Paris.")
    (picture,) = talker.turns(1)
    assert picture.locator("svg rect").count() > 3
    talker.accessible()
    session = talker.end()
    talker.state("idle")
    talker.accessible()
    (turn,) = talker.recorded(session, 1)
    assert turn["transcript"] == QUESTION
    assert turn["status"] == "completed"
    assert not turn["interrupted"]
    # What the page measured on its own sample clock is what the account of the turn came to.
    here = float(picture.get_attribute("data-voice-to-voice"))
    assert turn["voice_to_voice_s"] == pytest.approx(here, abs=0.03)


def test_a_voice_interrupts_and_is_answered(visit: Visit) -> None:
    talker = visit("long", 1.0, "question", 3.5, "question", 60.0)
    talker.begin()
    talker.turns(2)
    talker.said("you", QUESTION, 1)
    cut = talker.page.locator("#captions .agent").first
    cut.filter(has_text="interrupted").wait_for()
    assert cut.locator("del").inner_text()
    assert cut.locator("del").inner_text() != "It is Paris. It lies on the Seine. Many people live there."
    first, second = talker.recorded(talker.end(), 2)
    assert first["interrupted"]
    assert not second["interrupted"]


def test_escape_interrupts(visit: Visit) -> None:
    talker = visit("long", 120.0)
    talker.begin()
    talker.state("listening")
    talker.type("Where is Paris?")
    talker.said("you", "Where is Paris?")
    talker.state("speaking")
    talker.accessible()
    talker.page.keyboard.press("Escape")
    talker.state("listening")
    talker.page.locator("#captions .agent", has_text="interrupted").wait_for()
    (turn,) = talker.recorded(talker.end(), 1)
    assert turn["interrupted"]
    assert turn["transcript"] == "Where is Paris?"


def test_the_line_is_cut_and_the_session_goes_on(visit: Visit) -> None:
    talker = visit("short", 1.0, "question", 4.0, "question", 60.0, scripts=[CUTTABLE])
    talker.begin()
    talker.turns(1)
    talker.page.evaluate("sockets.at(-1).close(4000)")
    talker.state("away")
    talker.accessible()
    talker.state("listening")
    talker.turns(2)
    assert talker.page.evaluate("sockets.length") > 1
    session = talker.end()
    assert [turn["transcript"] for turn in talker.recorded(session, 2)] == [QUESTION, QUESTION]


def test_what_is_said_while_the_gateway_is_away_is_answered_once_it_is_back(visit: Visit) -> None:
    talker = visit("short", 1.0, "question", 2.5, "question", 60.0)
    talker.begin()
    talker.turns(1)
    staging.kill(talker.made, "gateway")
    talker.turns(2)
    session = talker.end()
    assert [turn["transcript"] for turn in talker.recorded(session, 2)] == [QUESTION, QUESTION]


def test_push_to_talk_by_the_space_bar(visit: Visit) -> None:
    talker = visit("short", "question", loop=True)
    talker.page.get_by_text("How it hears").click()
    talker.page.get_by_label("Push to talk").check()
    talker.begin()
    talker.state("listening")
    talker.page.locator("#detail", has_text="hold Space").wait_for()
    talker.page.keyboard.down("Space")
    talker.page.locator("#talk[data-hears]").wait_for()
    talker.page.locator('#hold[aria-pressed="true"]').wait_for()
    talker.page.keyboard.up("Space")
    talker.said("you", QUESTION)
    talker.said("agent", "It is Paris.")
    talker.turns(1)
    talker.state("listening")
    assert talker.page.locator("#captions .you").count() == 1
    talker.recorded(talker.end(), 1)


def test_the_agent_speaks_first(visit: Visit) -> None:
    talker = visit("short", 60.0)
    talker.begin()
    talker.state("listening")
    talker.page.locator("#agent-first").click()
    talker.state("speaking")
    talker.said("agent", "It is Paris.")
    talker.state("listening")
    assert talker.page.locator("#captions .you").count() == 0
    talker.recorded(talker.end(), 1)


def test_pictures_go_to_a_pipeline_that_sees(visit: Visit) -> None:
    talker = visit("sees", 1.0, "question", 60.0, scripts=[CUTTABLE])
    sent: list[str] = []
    talker.page.on(
        "websocket",
        lambda socket: socket.on("framesent", lambda data: sent.append(str(data)) if "frame" in str(data) else None),
    )
    talker.page.get_by_label("Show it the camera").check()
    talker.begin()
    talker.page.get_by_label("What the camera sees").wait_for()
    talker.turns(1)
    assert any("openomni.frame" in each and "jpeg" in each for each in sent)
    talker.accessible()
    talker.end()


def test_every_action_by_keyboard(visit: Visit) -> None:
    talker = visit("long", 120.0)
    page = talker.page
    talker.tab_to(page.locator('[name="pipeline"][value="long"]'))
    talker.tab_to(page.get_by_label("I agree that this is recorded"))
    page.keyboard.press("Space")
    page.locator("#now").evaluate("element => element.focus()")
    talker.tab_to(talker.button("Talk"))
    page.keyboard.press("Enter")
    talker.state("listening")
    talker.tab_to(page.locator("#agent-first"))
    page.keyboard.press("Enter")
    talker.state("speaking")
    talker.tab_to(talker.button("Interrupt"))
    page.keyboard.press("Space")
    talker.state("listening")
    talker.tab_to(talker.button("Mute"))
    page.keyboard.press("Space")
    page.locator("#detail", has_text="muted").wait_for()
    page.keyboard.press("Space")
    page.locator("#now").evaluate("element => element.focus()")
    talker.tab_to(page.locator("#hold"))
    page.keyboard.press("Space")  # pressed for a moment it stays held, until it is pressed again
    page.locator('#hold[aria-pressed="true"]').wait_for()
    page.keyboard.press("Space")
    page.locator('#hold[aria-pressed="false"]').wait_for()
    talker.tab_to(page.get_by_label("Type instead of speaking"))
    page.keyboard.type("Where is Paris?")
    page.keyboard.press("Enter")
    talker.said("you", "Where is Paris?")
    talker.state("speaking")
    page.locator("#now").evaluate("element => element.focus()")
    talker.tab_to(talker.button("End"))
    page.keyboard.press("Enter")
    talker.state("idle")
    talker.tab_to(page.locator("#session-link"))


def test_without_consent_nothing_begins(visit: Visit) -> None:
    talker = visit("short", 60.0)
    talker.button("Talk").click()
    talker.page.get_by_text("nothing is recorded without your agreement").wait_for()
    talker.state("idle")
    talker.accessible()


def test_consent_is_remembered(visit: Visit) -> None:
    talker = visit("short", 60.0)
    talker.page.get_by_label("I agree that this is recorded").check()
    talker.page.reload()
    assert talker.page.get_by_label("I agree that this is recorded").is_checked()


def test_a_denied_microphone_is_said_with_the_mend(visit: Visit) -> None:
    talker = visit("short", flags=["--use-fake-ui-for-media-stream=deny", "--use-fake-device-for-media-stream"])
    talker.begin()
    talker.state("failed")
    talker.page.get_by_role("alert").filter(has_text="does not let this page use the microphone").wait_for()
    talker.accessible()
    # Who can't speak can type, and hears the answer.
    talker.type("Where is Paris?")
    talker.said("agent", "It is Paris.")


def test_no_microphone_is_said_with_the_mend(visit: Visit) -> None:
    talker = visit("short", flags=["--use-fake-ui-for-media-stream"])
    talker.begin()
    talker.state("failed")
    talker.page.get_by_role("alert").filter(has_text="No microphone was found").wait_for()


def test_a_device_that_vanishes_is_said_and_another_one_goes_on(visit: Visit) -> None:
    talker = visit("short", 2.0, "question", 60.0, scripts=[HELD_STREAMS])
    talker.begin()
    talker.state("listening")
    talker.page.evaluate(
        "const [track] = streams[0].getTracks(); track.stop(); track.dispatchEvent(new Event('ended'))"
    )
    talker.page.get_by_role("alert").filter(has_text="is gone").wait_for()
    talker.accessible()
    talker.button("Use another microphone").click()
    talker.said("you", QUESTION)
    talker.turns(1)
    talker.end()


def test_over_plain_http_from_elsewhere_one_can_type(visit: Visit, made: Installation) -> None:
    port = made.url.rpartition(":")[2]
    talker = visit(
        "short", flags=["--host-resolver-rules=MAP talk.example 127.0.0.1"], base=f"http://talk.example:{port}"
    )
    talker.page.get_by_role("alert").filter(has_text="openomni up --tls").wait_for()
    talker.accessible()
    talker.page.get_by_label("I agree that this is recorded").check()
    talker.type("Where is Paris?")
    talker.said("you", "Where is Paris?")
    talker.said("agent", "It is Paris.")


def test_a_pipeline_without_an_agent_says_what_is_missing(visit: Visit) -> None:
    talker = visit("local", 60.0)
    talker.page.locator('[data-pipeline="local"]', has_text="stt:faster-whisper").wait_for()
    talker.begin()
    talker.state("failed")
    talker.page.get_by_role("alert").filter(has_text="openomni agent --offer").wait_for()
    talker.accessible()


def test_a_revoked_token_is_replaced_and_the_session_goes_on(visit: Visit) -> None:
    talker = visit("short", 120.0, scripts=[CUTTABLE])
    talker.begin()
    talker.state("listening")
    tokens = talker.made.request("GET", "/api/v1/tokens").json()["items"]
    for token in tokens:
        if token["name"].startswith("talk page"):
            assert talker.made.request("DELETE", f"/api/v1/tokens/{token['id']}").is_success
    staging.kill(talker.made, "gateway")  # which believes a token for a minute without asking
    talker.state("away")
    talker.state("listening")
    talker.type("Where is Paris?")
    talker.said("agent", "It is Paris.")


def test_a_stranger_is_sent_to_sign_in_whoever_came_before(visit: Visit, made: Installation) -> None:
    visit("short", 60.0)
    answer = httpx.get(f"{made.url}/talk/")
    assert answer.status_code == 302
    assert "login" in answer.headers["location"]
    assert httpx.post(f"{made.url}/talk/token/").status_code == 403


def test_over_tls_from_another_address_it_is_the_same(visit: Visit, tmp_path: Path) -> None:
    with installation(tmp_path, "--tls", "--offer", staging.EVERYTHING) as secured:
        spec = staging.pipeline("short", reply_s=0.6)
        with httpx.Client(verify=False) as client:
            put = client.put(
                f"{secured.url}/api/v1/pipelines/short",
                json={"spec": spec},
                headers={"Authorization": f"Bearer {secured.token}"},
            )
        assert put.is_success, put.text
        port = secured.url.rpartition(":")[2]
        flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        talker = visit(
            "short", 1.0, "question", 60.0, where=secured, ignore_https_errors=True, base=f"https://talk.example:{port}",
            flags=[*flags, "--host-resolver-rules=MAP talk.example 127.0.0.1"],
        )  # fmt: skip
        talker.begin()
        talker.said("you", QUESTION)
        talker.said("agent", "It is Paris.")
        talker.turns(1)
        talker.end()


@pytest.mark.models
def test_the_real_models_hear_and_answer(visit: Visit, local: Installation) -> None:
    talker = visit("local", 1.0, "question", 60.0, where=local)
    talker.begin()
    talker.said("you", "capital of Italy")
    talker.turns(1)
    (turn,) = talker.recorded(talker.end(), 1)
    assert "Italy" in turn["transcript"]
    assert turn["reply_text"].strip()
    talker.said("agent", turn["reply_text"].split()[0])


RESAMPLED = """async ([from, to, hertz]) => {
  const { Resampler } = await import("/static/talk/resampler.js");
  const resampler = new Resampler(from, to), found = [];
  const tone = (at) => Math.sin(2 * Math.PI * hertz * at / from);
  for (let start = 0; start < from; start += 128) {
    resampler.push(Float32Array.from({ length: 128 }, (_, index) => tone(start + index)));
    const out = new Float32Array(512);
    found.push(...out.subarray(0, resampler.pull(out)));
  }
  return found;
}"""


@pytest.mark.parametrize(("source", "target"), [(48_000, 16_000), (44_100, 16_000), (16_000, 48_000), (22_050, 48_000)])
def test_sound_is_resampled_where_it_was(visit: Visit, source: int, target: int) -> None:
    page = visit("short", 60.0).page
    tone = np.array(page.evaluate(RESAMPLED, [source, target, 1000]))
    assert len(tone) >= target * 0.99
    # Not a sample is shifted: the tone is what it would be had it been captured at that rate.
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(tone)) / target)
    assert np.abs(tone - expected)[200:].max() < 0.01


def test_what_the_lower_rate_cannot_hold_is_filtered_out(visit: Visit) -> None:
    page = visit("short", 60.0).page
    tone = np.array(page.evaluate(RESAMPLED, [48_000, 16_000, 10_000]))
    assert np.abs(tone[200:]).max() < 0.01
