from __future__ import annotations

import numpy as np
import pytest

from openomni.events import Message
from openomni.media import Frame
from openomni.pipeline import conversation as module
from openomni.pipeline.conversation import Conversation

JPEG = Frame(np.full((16, 16, 3), 90, np.uint8)).jpeg()


def test_a_version_grows_whatever_becomes_of_an_item() -> None:
    talk = Conversation()
    talk.put("a", Message("user", "one"))
    talk.put("b", Message("user", "two"))
    first = [(version, item.name, item.position) for version, item in talk.news()]
    talk.put("a", Message("user", "one, as it was heard"))
    talk.put("b", Message("user", "two"))
    talk.remove("b")
    second = [(version, item.name, item.gone) for version, item in talk.news()]
    talk.put("b", Message("user", "again"))
    third = [(version, item.name, item.gone) for version, item in talk.news()]
    assert first == [(1, "a", 0), (2, "b", 1)]
    assert second == [(3, "b", True), (4, "a", False)]
    assert third == [(5, "b", False)]
    assert list(talk.news()) == []


def test_the_oldest_pictures_leave_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PICTURE_BYTES", 2 * len(JPEG))
    talk = Conversation()
    for number in range(4):
        talk.put(f"i{number}", Message("user", f"look {number}", (Frame.from_jpeg(JPEG),)))
    assert [(message.content, len(message.images)) for message in talk.messages] == [
        ("look 0", 0), ("look 1", 0), ("look 2", 1), ("look 3", 1),
    ]  # fmt: skip
