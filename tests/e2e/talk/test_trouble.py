"""What goes wrong at the talk page: devices, consent, the line, tokens, agents. Each is said, with its mend."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from e2e import staging
from e2e.conftest import Installation
from e2e.talk.talker import CUTTABLE, HELD_STREAMS, QUESTION, Visit


def test_the_line_is_cut_and_the_session_goes_on(visit: Visit) -> None:
    talker = visit("short", 1.0, "question", 4.0, "question", 60.0, scripts=[CUTTABLE])
    talker.begin()
    talker.turns(1)
    talker.cut()
    talker.looks_well("away")
    talker.mend()
    talker.turns(2)
    assert talker.page.evaluate("sockets.length") > 1
    session = talker.end()
    assert [turn["transcript"] for turn in talker.recorded(session, 2)] == [QUESTION, QUESTION]


@pytest.mark.long
def test_what_was_heard_of_a_reply_is_known_though_the_line_broke_meanwhile(visit: Visit) -> None:
    talker = visit("short", 1.0, "question", 60.0, scripts=[CUTTABLE])
    talker.begin()
    talker.said("you:not(.partial)", QUESTION)  # the turn is over: no more of it has to arrive
    talker.page.evaluate("sockets.at(-1).send = () => {}")  # the line is dead, and nobody has noticed yet
    talker.said("agent", "It is Paris.")
    talker.state("speaking")
    talker.state("listening")
    talker.cut()
    talker.mend()
    talker.turns(1)
    (turn,) = talker.recorded(talker.end(), 1)
    assert turn["voice_to_voice_s"] is not None


@pytest.mark.long
def test_what_is_typed_into_a_dead_line_is_answered_once_it_is_back(visit: Visit) -> None:
    talker = visit("short", 60.0, scripts=[CUTTABLE])
    talker.begin()
    talker.state("listening")
    talker.page.evaluate("sockets.at(-1).send = () => {}")
    talker.type("What is the capital of France?")
    talker.said("you", "What is the capital of France?")
    talker.cut()
    talker.page.context.set_offline(False)
    talker.said("agent", "It is Paris.")
    talker.turns(1, spoken=False)
    assert len(talker.recorded(talker.end(), 1)) == 1


@pytest.mark.long
def test_a_reply_that_a_dead_line_swallowed_is_read_once_it_is_back_and_not_made_again(visit: Visit) -> None:
    talker = visit("short", 60.0, scripts=[CUTTABLE])
    talker.begin()
    talker.state("listening")
    talker.page.evaluate("sockets.at(-1).onmessage = () => {}")  # what we send arrives, and what comes is lost
    talker.type("What is the capital of France?")

    def turns() -> list[dict[str, Any]]:
        session = talker.made.request("GET", "/api/v1/sessions").json()["items"][0]["session_id"]
        return talker.made.request("GET", f"/api/v1/turns?session={session}").json()["items"]

    staging.until(lambda: [turn["status"] for turn in turns()] == ["completed"], "it was never answered")
    assert talker.page.locator("#captions .agent").count() == 0
    talker.cut()
    talker.mend()
    talker.said("agent", "It is Paris.")
    talker.end()
    assert len(turns()) == 1


@pytest.mark.long
def test_what_is_typed_while_a_reply_is_made_waits_for_its_end_when_the_line_swallowed_the_cancel(visit: Visit) -> None:
    talker = visit("slow", 60.0, scripts=[CUTTABLE])
    talker.begin()
    talker.state("listening")
    talker.type("Where is Paris?")
    talker.state("thinking")
    talker.page.evaluate("sockets.at(-1).send = () => {}")
    talker.type("What is the capital of France?")
    talker.cut()
    talker.page.context.set_offline(False)
    talker.turns(2, spoken=False)
    session = talker.end()
    asked = [turn["transcript"] for turn in talker.recorded(session, 2)]
    assert asked == ["Where is Paris?", "What is the capital of France?"]


@pytest.mark.long
def test_what_is_said_while_the_gateway_is_away_is_answered_once_it_is_back(visit: Visit) -> None:
    talker = visit("short", 1.0, "question", 2.5, "question", 60.0)
    talker.begin()
    talker.turns(1)
    staging.kill(talker.made, "gateway")
    talker.turns(2)
    session = talker.end()
    assert [turn["transcript"] for turn in talker.recorded(session, 2)] == [QUESTION, QUESTION]


def test_without_consent_nothing_begins(visit: Visit) -> None:
    talker = visit("short", 60.0)
    talker.button("Talk").click()
    talker.page.get_by_text("nothing is recorded without your agreement").wait_for()
    talker.state("idle")
    talker.accessible()


def test_consent_begins_what_waited_for_it(visit: Visit) -> None:
    talker = visit("short", 60.0)
    talker.button("Talk").click()
    talker.page.get_by_role("alert").filter(has_text="agree that this is recorded").wait_for()
    talker.page.get_by_label("I agree that this is recorded").check()
    talker.state("listening")
    talker.button("End").click()
    talker.page.get_by_label("I agree that this is recorded").uncheck()
    talker.type("Where is Paris?")
    talker.page.get_by_label("I agree that this is recorded").check()
    talker.said("you", "Where is Paris?")


@pytest.mark.long
def test_a_reply_that_fails_says_why_where_it_would_stand(visit: Visit) -> None:
    talker = visit("fails", 120.0)
    talker.begin()
    talker.state("listening")
    talker.type("Where is Paris?")
    talker.said("agent", "The reply failed: ")
    talker.said("agent", "simulated failure")
    talker.state("listening")
    talker.looks_well("failed-reply")


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
    talker.looks_well("denied")
    # Who can't speak can type, and hears the answer.
    talker.type("Where is Paris?")
    talker.said("agent", "It is Paris.")


def test_no_microphone_is_said_with_the_mend(visit: Visit) -> None:
    talker = visit("short", flags=["--use-fake-ui-for-media-stream"])
    talker.begin()
    talker.state("failed")
    talker.page.get_by_role("alert").filter(has_text="No microphone was found").wait_for()


@pytest.mark.long
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


@pytest.mark.long
def test_over_plain_http_from_elsewhere_one_can_type(visit: Visit, made: Installation) -> None:
    port = made.url.rpartition(":")[2]
    talker = visit(
        "short", flags=["--host-resolver-rules=MAP talk.example 127.0.0.1"], base=f"http://talk.example:{port}"
    )
    talker.page.get_by_role("alert").filter(has_text="openomni up --tls").wait_for()
    talker.looks_well("plain-http")
    talker.page.get_by_label("I agree that this is recorded").check()
    talker.type("Where is Paris?")
    talker.said("you", "Where is Paris?")
    talker.said("agent", "It is Paris.")


@pytest.mark.long
def test_a_pipeline_without_an_agent_says_what_is_missing(visit: Visit) -> None:
    talker = visit("local", 60.0)
    talker.page.locator('[data-pipeline="local"]', has_text="stt:faster-whisper").wait_for()
    talker.begin()
    talker.state("failed")
    talker.page.get_by_role("alert").filter(has_text="openomni agent --offer").wait_for()
    talker.looks_well("no-agent")


@pytest.mark.long
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
