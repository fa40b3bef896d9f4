"""Each event of a client has its answer, and none is taken for more than it says."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from openomni.events import AudioIn, Commit, NothingCommitted, ReplyEnd, ReplySound, Truncate
from openomni.gateway import client_events

from .client import Client

TURN = "ab" * 16
APPEND = {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(4800)).decode()}
COMMIT = {"type": "input_audio_buffer.commit"}


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": session}


def code(told: list[dict[str, Any]]) -> str:
    (only,) = told
    return str(only["error"]["code"])


@pytest.mark.parametrize("detection", [None, {"type": "server_vad"}])
async def test_a_commit_of_nothing_is_answered(detection: Any) -> None:
    client = Client(opted_in=False)
    await client.sends(update(audio={"input": {"turn_detection": detection}}))
    assert code(await client.sends(COMMIT)) == "input_audio_buffer_commit_empty"
    await client.sends(APPEND)
    assert "error" not in [each["type"] for each in await client.sends(COMMIT)]
    assert client.told_host[-1] == Commit()
    assert code(await client.sends(COMMIT)) == "input_audio_buffer_commit_empty", "that was committed already"


async def test_a_commit_in_which_nothing_was_said_is_answered_once_the_host_knows() -> None:
    (told,) = Client(opted_in=False).hears(NothingCommitted())
    assert isinstance(told, dict)
    assert told["error"]["code"] == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize(
    "session",
    [
        {"audio": {"input": {"format": {"type": "audio/pcmu"}}}},
        {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 8000}}}},
        {"audio": {"input": {"format": "g711_ulaw"}}},
        {"audio": {"input": {"format": 5}}, "instructions": 3},
        {"input_audio_format": "g711_ulaw"},
    ],
)
async def test_sound_in_a_form_that_was_refused_is_not_taken_for_another(session: Any) -> None:
    client = Client(opted_in=False)
    before = client.settings.session()
    (refused,) = await client.sends(update(**session))
    assert refused["type"] == "error"
    (unheard,) = await client.sends(APPEND)
    assert (unheard["error"]["param"], client.told_host) == ("session.audio.input.format", [])
    assert client.settings.session() == before
    await client.sends(update(audio={"input": {"format": {"type": "audio/pcm", "rate": 24_000}}}))
    assert await client.sends(APPEND) == []
    assert isinstance(client.told_host[-1], AudioIn)


@pytest.mark.parametrize(
    ("ms", "ended", "told"),
    [
        (1000, True, Truncate(TURN, 1.0)),
        (2000, True, None),
        (9000, True, None),
        (9000, False, Truncate(TURN, 2.0)),
    ],
)
async def test_behind_the_end_of_a_reply_nothing_was_stopped(ms: int, ended: bool, told: Truncate | None) -> None:
    client = Client(opted_in=False)
    client.hears(ReplySound(TURN, 24_000, 24_000, 0.0, bytes(48_000)))
    if ended:
        client.hears(ReplyEnd(TURN, "completed"))
    (answer,) = await client.sends(
        {"type": "conversation.item.truncate", "item_id": f"msg_{TURN}", "content_index": 0, "audio_end_ms": ms}
    )
    assert (answer["type"], answer["audio_end_ms"]) == ("conversation.item.truncated", ms)
    assert client.told_host == ([] if told is None else [told])


async def test_requests_that_wait_are_bounded() -> None:
    client = Client()
    told = [await client.sends({"type": "response.create", "event_id": f"e{number}", "again": True})
            for number in range(client_events.MAX_UNANSWERED + 1)]  # fmt: skip
    assert told[:-1] == [[]] * client_events.MAX_UNANSWERED
    assert code(told[-1]) == "buffer_full"


async def test_utterances_that_wait_are_bounded() -> None:
    client = Client(opted_in=False)
    await client.sends(update(audio={"input": {"turn_detection": None}}))
    for _ in range(client_events.MAX_UNANSWERED):
        await client.sends(APPEND)
        assert "error" not in [each["type"] for each in await client.sends(COMMIT)]
    await client.sends(APPEND)
    assert code(await client.sends(COMMIT)) == "buffer_full"


async def test_text_that_no_database_stores_is_refused_by_its_place() -> None:
    client = Client(opted_in=False)
    content = [{"type": "input_text", "text": "a\0b"}]
    item = {"type": "message", "role": "user", "content": content}
    (told,) = await client.sends({"type": "conversation.item.create", "event_id": "mine", "item": item})
    assert (told["error"]["param"], told["error"]["event_id"]) == ("item.content.text", "mine")
    content[0]["text"] = r"a\u0000b"  # six letters
    assert (await client.sends({"type": "conversation.item.create", "item": item}))[0]["type"] != "error"
