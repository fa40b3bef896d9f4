"""A plain client of the OpenAI Realtime protocol: the official SDK, with another address and key."""

from __future__ import annotations

import asyncio
import base64
import uuid
from itertools import pairwise
from typing import Any

import pytest
from openai import AsyncOpenAI, BaseModel
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.exceptions import InvalidStatus

from openomni.events import AudioIn, CancelResponse, Commit, ReplyEnd, ReplySound, SessionChange, TextIn

SECOND = base64.b64encode(bytes(48_000)).decode()


def sdk(world: Any, key: str = "oo_0000aaaa_device") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{world.url}/v1", api_key=key, max_retries=0)


async def receive(connection: Any, kind: str) -> Any:
    async with asyncio.timeout(5):
        while True:
            event = await connection.recv()
            if event.type == kind:
                return event


async def test_the_official_sdk_talks_to_a_pipeline(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="x") as connection:
        created = await receive(connection, "session.created")
        assert created.session.model == "x"
        await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        assert (await receive(connection, "session.updated")).session.instructions == "Be brief."
        for _ in range(10):
            await connection.input_audio_buffer.append(audio=base64.b64encode(bytes(4800)).decode())
        hosted = await host.session()
        assert (await hosted.until(SessionChange)).instructions == "Be brief."
        heard = [await hosted.until(AudioIn) for _ in range(9)]
        assert heard[0].position == 0
        assert [after.position - before.position for before, after in pairwise(heard)] == [
            len(each.pcm) // 2 for each in heard[:-1]
        ]
        turn_id = uuid.uuid4().hex
        await hosted.answer(turn_id)
        seconds, transcript = 0.0, ""
        async with asyncio.timeout(5):
            async for event in connection:
                if event.type == "response.output_audio.delta":
                    seconds += len(base64.b64decode(event.delta)) / 2 / 24_000
                elif event.type == "conversation.item.input_audio_transcription.completed":
                    transcript = event.transcript
                elif event.type == "response.done":
                    break
        assert event.response.status == "completed"
        assert event.response.output[0].content[0].transcript == "All is well."
        assert transcript == "what is up"
        assert seconds == pytest.approx(0.2, abs=0.001)


async def test_every_event_fits_the_sdks_models(world: Any) -> None:
    host = await world.host()
    client = await world.connect()
    await client.until("session.created")
    await client.send({"type": "input_audio_buffer.append", "audio": SECOND})
    hosted = await host.session()
    await hosted.answer(uuid.uuid4().hex)
    await client.until("response.done")
    failed = uuid.uuid4().hex
    await hosted.answer(failed, end=False)
    await hosted.emit(ReplyEnd(failed, "failed", "tts:simulated: out of breath"))
    assert (await client.until("error"))["error"]["message"] == "tts:simulated: out of breath"
    await client.send({"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}})
    await client.send({"type": "input_audio_buffer.clear"})
    await client.send({"type": "input_audio_buffer.append", "audio": SECOND})
    await client.send({"type": "input_audio_buffer.commit"})
    await client.until("conversation.item.added")
    known: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
    types = {event["type"] for event in client.seen}
    for event in client.seen:
        model = known.validate_python(event)
        assert isinstance(model, BaseModel)
        assert model.type == event["type"]
        assert model.model_extra == {}, event
        assert not event["type"].startswith("openomni."), "a client that did not opt in gets standard events only"
    assert types >= {
        "session.created", "session.updated", "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed", "input_audio_buffer.cleared", "conversation.item.added",
        "conversation.item.done", "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed", "response.created", "response.output_item.added",
        "response.content_part.added", "response.output_audio_transcript.delta", "response.output_audio.delta",
        "response.output_audio.done", "response.output_audio_transcript.done", "response.content_part.done",
        "response.output_item.done", "response.done", "error",
    }  # fmt: skip


async def test_without_turn_detection_commit_and_response_create_decide(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        manual: Any = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await connection.session.update(session=manual)
        updated = await receive(connection, "session.updated")
        assert updated.session.audio.input.turn_detection is None
        await connection.input_audio_buffer.append(audio=SECOND)
        await connection.input_audio_buffer.clear()
        await receive(connection, "input_audio_buffer.cleared")
        await connection.input_audio_buffer.commit()
        assert (await receive(connection, "error")).error.code == "input_audio_buffer_commit_empty"
        await connection.input_audio_buffer.append(audio=SECOND)
        await connection.input_audio_buffer.commit()
        committed = await receive(connection, "input_audio_buffer.committed")
        await connection.response.create()
        hosted = await host.session()
        assert (await hosted.until(SessionChange)).turn_detection is False
        sound = await hosted.until(AudioIn)
        assert sound.position == 0
        await hosted.until(Commit)
        turn_id = uuid.uuid4().hex
        await hosted.answer(turn_id)
        completed = await receive(connection, "conversation.item.input_audio_transcription.completed")
        assert completed.item_id == committed.item_id
        await receive(connection, "response.done")
        await connection.response.create()
        assert (await receive(connection, "error")).error.code == "nothing_to_answer"


async def test_typed_text_is_answered(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}
        )
        item = (await receive(connection, "conversation.item.done")).item
        assert item.content[0].text == "Hello?"
        await connection.response.create()
        hosted = await host.session()
        assert (await hosted.until(TextIn)).text == "Hello?"


async def test_a_cancelled_reply_falls_silent_at_once(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        await connection.response.cancel()
        assert (await receive(connection, "error")).error.code == "response_cancel_not_active"
        await connection.input_audio_buffer.append(audio=SECOND)
        hosted = await host.session()
        turn_id = uuid.uuid4().hex
        await hosted.answer(turn_id, end=False)
        await receive(connection, "response.output_audio.delta")
        await connection.response.cancel()
        await hosted.until(CancelResponse)
        await hosted.emit(ReplySound(turn_id, 24_000, 0, 0.0, b"\1\1" * 2400), ReplyEnd(turn_id, "cancelled"))
        seen = []
        async with asyncio.timeout(5):
            while (event := await connection.recv()).type != "response.done":
                seen.append(event)
        assert event.response.status == "cancelled"
        assert event.response.status_details.reason == "client_cancelled"
        late = [base64.b64decode(each.delta) for each in seen if each.type == "response.output_audio.delta"]
        assert not any(b"\1\1\1\1" in pcm for pcm in late)


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"type": "transcription"}, "session.type"),
        ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "session.audio.input.format"),
        ({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 8000}}}}, "session.audio.output.format"),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, "session.audio.input.turn_detection.type"),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}},
            "session.audio.input.turn_detection.create_response",
        ),
        ({"output_modalities": ["text"]}, "session.output_modalities"),
        ({"tools": [{"type": "function", "name": "f"}]}, "session.tools"),
        ({"model": "another"}, "session.model"),
        ({"instructions": 3}, "session.instructions"),
        ("nonsense", "session"),
    ],
)
async def test_what_is_not_supported_is_an_error_and_the_session_goes_on(world: Any, session: Any, param: str) -> None:
    await world.host()
    client = await world.connect()
    await client.send({"type": "session.update", "event_id": "mine", "session": session})
    error = (await client.until("error"))["error"]
    assert (error["param"], error["event_id"], error["type"]) == (param, "mine", "invalid_request_error")
    await client.send({"type": "session.update", "session": {"instructions": "still here"}})
    assert (await client.until("session.updated"))["session"]["instructions"] == "still here"


async def test_bad_messages_are_errors_and_never_a_close(world: Any) -> None:
    host = await world.host()
    client = await world.connect()
    for bad, code in (
        ("{no json", "invalid_json"),
        ("[]", "invalid_event"),
        ('{"type": "response.creat"}', "unknown_event"),
        ('{"type": "openomni.ping", "sent": 1}', "unknown_event"),
        ('{"type": "input_audio_buffer.append", "audio": "###"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append", "audio": "QQ=="}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "invalid_value"),
        ('{"type": "conversation.item.truncate"}', "unsupported_event"),
        ('{"type": "x", "pad": "%s"}' % ("x" * (1 << 20)), "message_too_large"),
        (b"\0\0", "invalid_frame"),
    ):
        await client.socket.send(bad)
        assert (await client.until("error"))["error"]["code"] == code
    await client.send({"type": "input_audio_buffer.append", "audio": SECOND})
    assert await (await host.session()).until(AudioIn)


async def test_the_nearest_event_type_is_named(world: Any) -> None:
    await world.host()
    client = await world.connect()
    await client.send({"type": "input_audio_buffer.apend"})
    assert "did you mean 'input_audio_buffer.append'?" in (await client.until("error"))["error"]["message"]


async def test_a_bad_token_is_refused_before_the_handshake(world: Any) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with sdk(world, "oo_bad").realtime.connect(model="local"):
            pass
    assert refused.value.response.status_code == 401
    assert b"unknown" in (refused.value.response.body or b"")
