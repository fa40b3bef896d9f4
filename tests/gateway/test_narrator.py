"""What a host says, in the words of the protocol: who is told what, and what belongs to which turn."""

from __future__ import annotations

import json

import pytest

from openomni.events import AnsweredBefore, Heard, ReplyPaused, ReplyResumed, ReplyText, SpeechStopped, TurnDone
from openomni.gateway.narrator import Narrator

TURN = "ab" * 16


@pytest.mark.parametrize(
    ("output", "kind"),
    [(ReplyPaused(TURN), "openomni.reply.paused"), (ReplyResumed(TURN), "openomni.reply.resumed")],
)
def test_only_a_client_that_opted_in_is_told_of_a_pause(output: ReplyPaused | ReplyResumed, kind: str) -> None:
    (told,) = Narrator("s" * 32, opted_in=True).tell(output)
    event = json.loads(told)
    assert (event["type"], event["turn_id"]) == (kind, TURN)
    assert list(Narrator("s" * 32).tell(output)) == []


@pytest.mark.parametrize("stale", [False, True])
def test_news_of_an_old_turn_takes_nothing_from_the_one_that_was_asked_for(stale: bool) -> None:
    narrator = Narrator("s" * 32, opted_in=True)
    content = [{"type": "input_text", "text": "And Rome?"}]
    typed = {"id": "item_typed", "object": "realtime.item", "type": "message", "role": "user", "content": content}
    list(narrator.user_item(typed, typed=True))
    narrator.ask()
    if stale:  # after a break, what was heard of a reply before it is told, and makes a newer record of that
        list(narrator.tell(TurnDone("cd" * 16, b'{"stages": []}')))
    assert narrator.busy
    told = [SpeechStopped(TURN, 0, 0), Heard(TURN, "And Rome?", final=True), ReplyText(TURN, "It is Rome.")]
    kinds = [json.loads(message)["type"] for output in told for message in narrator.tell(output)]
    assert "response.created" in kinds
    assert not [kind for kind in kinds if kind.startswith("input_audio_buffer.")], "nobody spoke"


def test_what_was_answered_before_is_not_waited_for() -> None:
    narrator = Narrator("s" * 32, opted_in=True)
    narrator.ask()
    (told,) = narrator.tell(AnsweredBefore("event_7", TURN))
    event = json.loads(told)
    assert (event["type"], event["request"], event["turn_id"]) == ("openomni.answered.before", "event_7", TURN)
    assert not narrator.busy
