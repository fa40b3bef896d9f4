"""What work names and does not carry is asked for once, however many pages it takes."""

from __future__ import annotations

from typing import Any

import pytest

from openomni.agent.references import References
from openomni.errors import OpenOmniError
from openomni.events import Message
from openomni.storage.api import Unreachable


class Answers:
    """An API whose turns come newest first, two a page."""

    server = "http://server"

    def __init__(self, turns: int) -> None:
        self.turns = [
            {"turn_id": f"t{index}", "index": index, "transcript": f"q{index}", "reply_text": f"a{index}", "later": 1}
            for index in range(turns)
        ][::-1]
        self.asked: list[str] = []

    async def get(self, path: str, **query: Any) -> Any:
        self.asked.append(path)
        if path != "/turns":
            return {"hash": path, "spec": None}
        start = int(query.get("cursor", 0))
        more = start + 2 < len(self.turns)
        return {"items": self.turns[start : start + 2], "next": str(start + 2) if more else None}


def references(api: Answers) -> References:
    return References(api)  # type: ignore[arg-type]


async def test_what_was_said_up_to_a_turn_is_asked_for_once() -> None:
    api = Answers(5)
    asked = references(api)
    expected = [
        Message(role, f"{letter}{index}") for index in range(4) for role, letter in (("user", "q"), ("assistant", "a"))
    ]  # type: ignore[arg-type]
    assert (await asked.history("s", "t3")).messages == expected
    assert (await asked.history("s", "t3")).items[-2:] == ["user:t3", "reply:t3"]
    assert api.asked == ["/turns"] * 3
    assert await asked.history("s", "") == ((), ())


async def test_a_turn_that_the_server_does_not_have_is_an_error_and_no_empty_history() -> None:
    with pytest.raises(OpenOmniError, match="has no turn t9"):
        await references(Answers(2)).history("s", "t9")


async def test_an_answer_without_a_spec_is_no_pipeline() -> None:
    with pytest.raises(Unreachable, match="gives no spec"):
        await references(Answers(0)).pipeline("h", "local")
