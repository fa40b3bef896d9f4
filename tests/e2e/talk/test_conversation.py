"""A conversation on the talk page, in a real browser."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from e2e import staging
from e2e.conftest import Installation, installation
from e2e.talk.talker import CUTTABLE, QUESTION, UNTOLD, Visit


def test_a_spoken_question_is_heard_answered_and_played(visit: Visit) -> None:
    talker = visit("short", 1.0, "question", 60.0)
    talker.looks_well("empty")
    talker.begin()
    talker.state("listening")
    talker.accessible()
    talker.said("you", QUESTION)
    talker.said("agent", "It is Paris.")
    (picture,) = talker.turns(1)
    picture.locator("svg rect").nth(3).wait_for(state="attached")
    talker.state("listening")
    talker.looks_well("listening")
    session = talker.end()
    talker.state("idle")
    talker.looks_well("over")
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
    # To the word, as the host knows it from what this loudspeaker played.
    (heard,) = (stage["output"]["heard"] for stage in first["stages"] if stage["kind"] == "llm")
    unheard = cut.locator("del").inner_text()
    assert first["reply_text"].split() == [*heard.split(), *unheard.split()]


@pytest.mark.long
def test_who_writes_goes_on_writing(visit: Visit) -> None:
    talker = visit("short", 120.0)
    talker.page.get_by_label("I agree that this is recorded").check()
    talker.type("Where is Paris?")
    talker.said("agent", "It is Paris.")
    talker.turns(1, spoken=False)  # who types sooner interrupts the reply, and it may be heard by nobody
    talker.page.keyboard.type("And Rome?")
    talker.page.keyboard.press("Enter")
    talker.said("you", "And Rome?", 1)
    talker.turns(2, spoken=False)
    first, second = talker.recorded(talker.end(), 2)
    assert (first["transcript"], second["transcript"]) == ("Where is Paris?", "And Rome?")
    assert first["voice_to_voice_s"] is None, "nobody spoke"


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


def test_what_is_interrupted_while_its_end_is_not_told_yet_is_on_record(visit: Visit) -> None:
    talker = visit("long", 120.0, scripts=[UNTOLD])
    talker.begin()
    talker.state("listening")
    talker.type("Where is Paris?")
    talker.state("speaking")
    staging.until(lambda: talker.page.evaluate("untold"), "the reply never was sent whole")
    talker.page.keyboard.press("Escape")
    talker.page.locator("#captions .agent", has_text="interrupted").wait_for()
    (turn,) = talker.recorded(talker.end(), 1)
    assert turn["interrupted"]


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
    session = talker.end()
    # What it showed is kept, beside what was said.
    staging.until(
        lambda: {"audio", "video"} <= {each["kind"] for each in talker.made.request(
            "GET", f"/api/v1/recordings?session={session}").json()["items"] if each["status"] == "complete"},
        "the camera's pictures never came to the API",
    )  # fmt: skip


@pytest.mark.long
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
    # Which line it is depends on how long the hold before it was: held for longer, the silence was an utterance.
    page.locator("#captions .you", has_text="Where is Paris?").wait_for()
    talker.state("speaking")
    page.locator("#now").evaluate("element => element.focus()")
    talker.tab_to(talker.button("End"))
    page.keyboard.press("Enter")
    talker.state("idle")
    talker.tab_to(page.locator("#session-link"))


@pytest.mark.long
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
@pytest.mark.long
def test_the_real_models_hear_and_answer(visit: Visit, local: Installation) -> None:
    talker = visit("local", 1.0, "question", 60.0, where=local)
    talker.begin()
    talker.said("you", "capital of Italy")
    talker.turns(1)
    (turn,) = talker.recorded(talker.end(), 1)
    assert "Italy" in turn["transcript"]
    assert turn["reply_text"].strip()
    talker.said("agent", turn["reply_text"].split()[0])
