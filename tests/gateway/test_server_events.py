"""What a host says, in the words of the protocol: who is told what, and what belongs to which turn."""

from __future__ import annotations

import json

import pytest

from openomni.events import (
    Answering,
    Dismissed,
    Heard,
    ReplyEnd,
    ReplyPaused,
    ReplyResumed,
    ReplyText,
    SessionOutput,
    SpeechStopped,
    TurnDone,
)
from openomni.gateway.server_events import ServerEvents

TURN = "ab" * 16


@pytest.mark.parametrize(
    ("output", "kind"),
    [(ReplyPaused(TURN), "openomni.reply.paused"), (ReplyResumed(TURN), "openomni.reply.resumed")],
)
def test_only_a_client_that_opted_in_is_told_of_a_pause(output: ReplyPaused | ReplyResumed, kind: str) -> None:
    (told,) = ServerEvents("s" * 32, opted_in=True).tell(output)
    event = json.loads(told)
    assert (event["type"], event["turn_id"]) == (kind, TURN)
    assert list(ServerEvents("s" * 32).tell(output)) == []


def test_what_was_dismissed_is_told_to_a_client_that_opted_in() -> None:
    said = Dismissed(TURN, 16_000, 24_000, "and then", -1.3, "guess")
    (told,) = ServerEvents("s" * 32, opted_in=True).tell(said)
    event = json.loads(told)
    del event["event_id"]
    assert event == {
        "type": "openomni.dismissed", "turn_id": TURN, "audio_start_ms": 1000, "audio_end_ms": 1500,
        "transcript": "and then", "log_probability": -1.3, "why": "guess",
    }  # fmt: skip
    assert list(ServerEvents("s" * 32).tell(said)) == []


@pytest.mark.parametrize("stale", [False, True])
def test_news_of_an_old_turn_takes_nothing_from_the_one_that_was_asked_for(stale: bool) -> None:
    server = ServerEvents("s" * 32, opted_in=True)
    content = [{"type": "input_text", "text": "And Rome?"}]
    typed = {"id": "item_typed", "object": "realtime.item", "type": "message", "role": "user", "content": content}
    list(server.user_item(typed, typed=True))
    server.turns.ask()
    if stale:  # after a break, what was heard of a reply before it is told, and makes a newer record of that
        list(server.tell(TurnDone("cd" * 16, b'{"stages": []}')))
    assert server.turns.busy
    told = [SpeechStopped(TURN, 0, 0), Heard(TURN, "And Rome?", final=True), ReplyText(TURN, "It is Rome.")]
    kinds = [json.loads(message)["type"] for output in told for message in server.tell(output)]
    assert "response.created" in kinds
    assert not [kind for kind in kinds if kind.startswith("input_audio_buffer.")], "nobody spoke"


def kinds(server: ServerEvents, *told: SessionOutput) -> list[str]:
    return [json.loads(message)["type"] for output in told for message in server.tell(output)]


def test_a_request_is_answered_by_the_turn_that_the_host_names() -> None:
    server = ServerEvents("s" * 32, opted_in=True)
    list(server.user_item({"id": "item_typed", "role": "user"}, typed=True))
    server.turns.ask(metadata={"mine": "1"}, request="event_7")
    other = "cd" * 16  # was under way before the client came back
    assert "response.created" in kinds(server, ReplyText(other, "It is late."), ReplyEnd(other, "completed"))
    assert server.turns.busy
    (told,) = server.tell(Answering("event_7", TURN))
    event = json.loads(told)
    assert (event["type"], event["request"], event["turn_id"]) == ("openomni.answering", "event_7", TURN)
    said = [SpeechStopped(TURN, 0, 0), Heard(TURN, "And Rome?", final=True), ReplyText(TURN, "It is Rome.")]
    events = [json.loads(message) for output in said for message in server.tell(output)]
    (created,) = (event for event in events if event["type"] == "response.created")
    assert created["response"]["metadata"] == {"mine": "1"}
    added = [event["item"]["id"] for event in events if event["type"] == "conversation.item.added"]
    assert added == [f"msg_{TURN}"], "what was typed was announced already"
    kinds(server, ReplyEnd(TURN, "completed"), TurnDone(TURN, b"{}"))
    assert not server.turns.busy


def test_a_request_that_was_answered_before_is_not_waited_for() -> None:
    server = ServerEvents("s" * 32, opted_in=True)
    server.turns.ask(request="event_7")
    assert server.turns.busy
    assert kinds(server, Answering("event_7", TURN), TurnDone(TURN, b"{}")) == [
        "openomni.answering", "openomni.turn.done",
    ]  # fmt: skip
    assert not server.turns.busy


def test_what_was_typed_waits_where_the_spoken_is_answered_first() -> None:
    server = ServerEvents("s" * 32)
    server.turns.answers_itself = False
    kinds(server, SpeechStopped(TURN, 16_000, 0))
    list(server.user_item({"id": "item_typed", "role": "user"}, typed=True))
    server.turns.ask()  # answers what was said
    kinds(server, ReplyText(TURN, "It is Rome."), ReplyEnd(TURN, "completed"))
    server.turns.ask()  # answers what was typed
    other = "cd" * 16
    events = [json.loads(message) for output in (SpeechStopped(other, 0, 0), Heard(other, "And?", final=True))
              for message in server.tell(output)]  # fmt: skip
    assert events
    assert {event.get("item_id", "item_typed") for event in events} == {"item_typed"}


def test_what_was_asked_over_a_line_that_broke_is_not_told_as_speech() -> None:
    server = ServerEvents("s" * 32, opted_in=True)
    told = [
        Answering("event_7", TURN),
        SpeechStopped(TURN, 0, 0),
        Heard(TURN, "Hello?", final=True),
        ReplyText(TURN, "Yes."),
    ]
    events = [json.loads(message) for output in told for message in server.tell(output)]
    assert not [event for event in events if event["type"].startswith("input_audio_buffer.")]
    assert {event["item"]["role"] for event in events if event["type"] == "conversation.item.added"} == {"assistant"}


def test_what_a_lost_host_was_asked_keeps_nobody_from_asking_the_next_one() -> None:
    server = ServerEvents("s" * 32, opted_in=True)
    server.turns.ask()
    server.turns.ask(request="event_7")
    server.turns.host_lost()
    assert not server.turns.busy
