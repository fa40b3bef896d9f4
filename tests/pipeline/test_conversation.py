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


def test_what_a_model_was_told_stays_on_record_as_it_was_told() -> None:
    talk = Conversation()
    talk.put("reply:a", Message("assistant", "It is noon."))
    talk.put("reply:a", Message("assistant", "It is noon. Bye."))
    assert talk.tell() == ([Message("assistant", "It is noon. Bye.")], ["reply:a"]), "nobody was told the first"
    talk.put("reply:a", Message("assistant", "It is"))
    talk.put("user:b", Message("user", "And now?"))
    kept = [(item.record, item.position, item.message.content, item.gone) for _, item in talk.news()]
    assert kept == [
        ("reply:a", 0, "It is noon. Bye.", True), ("reply:a:2", 0, "It is", False), ("user:b", 1, "And now?", False),
    ]  # fmt: skip
    assert talk.tell()[1] == ["reply:a:2", "user:b"]
    talk.remove("reply:a")
    talk.put("reply:a", Message("assistant", "Three."))
    assert talk.names == ["user:b", "reply:a:3"]
