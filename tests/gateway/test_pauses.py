"""Who is told that a reply falls silent for a moment: clients of ours, and no SDK, which would take it for an error."""

from __future__ import annotations

import json

import pytest

from openomni.events import ReplyPaused, ReplyResumed
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
