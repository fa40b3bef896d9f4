"""A plain client of the OpenAI Realtime protocol: the official SDK, with another address and key."""

from __future__ import annotations

import asyncio
import base64
import uuid
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI, AuthenticationError, BaseModel, NotFoundError
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.exceptions import InvalidStatus

from openomni.events import (
    AudioIn,
    CancelResponse,
    Commit,
    Heard,
    ItemGone,
    ItemIn,
    ReplyEnd,
    ReplySound,
    ReplyText,
    Respond,
    SessionChange,
    SpeechStopped,
    ToolCall,
    ToolCalled,
    Truncate,
    TurnDone,
)
from openomni.media import Frame
from openomni.records import StageRecord, TurnRecord, encode

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
        hosted = await host.session()
        change = await hosted.until(SessionChange)
        assert (change.turn_detection, change.create_response) == (False, False)
        sound = await hosted.until(AudioIn)
        assert sound.position == 0
        await hosted.until(Commit)
        await connection.response.create(response={"instructions": "Be brief."})
        assert (await hosted.until(Respond)).instructions == "Be brief."
        turn_id = uuid.uuid4().hex
        await hosted.answer(turn_id)
        completed = await receive(connection, "conversation.item.input_audio_transcription.completed")
        assert completed.item_id == committed.item_id
        await receive(connection, "response.done")
        await connection.response.create()
        await connection.response.create()
        assert (await receive(connection, "error")).error.code == "conversation_already_has_active_response"


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
        said = await hosted.until(ItemIn)
        assert (said.item_id, said.message.role, said.message.content) == (item.id, "user", "Hello?")
        await hosted.until(Respond)


async def test_a_response_carries_the_metadata_of_its_request(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        too_long: dict[str, Any] = {"metadata": {"topic": "x" * 513}}
        await connection.response.create(response=too_long)
        assert (await receive(connection, "error")).error.param == "response.metadata"
        await connection.response.create(response={"metadata": {"topic": "greeting"}}, event_id="event_1")
        hosted = await host.session()
        asked = await hosted.until(Respond)
        assert asked.request_id is None, "what others call their events says nothing"
        await hosted.answer(uuid.uuid4().hex)
        for kind in ("response.created", "response.done"):
            assert (await receive(connection, kind)).response.metadata == {"topic": "greeting"}


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


async def test_a_reply_that_is_cancelled_before_it_began_says_who_did(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        await connection.response.create()
        await connection.response.cancel()
        hosted = await host.session()
        await hosted.until(CancelResponse)
        turn_id = uuid.uuid4().hex
        await hosted.emit(SpeechStopped(turn_id, 16_000), ReplyEnd(turn_id, "cancelled"))
        done = await receive(connection, "response.done")
        assert (done.response.status, done.response.status_details.reason) == ("cancelled", "client_cancelled")


async def test_what_a_transcription_took_is_the_length_of_its_own_speech(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        await connection.input_audio_buffer.append(audio=SECOND)
        hosted = await host.session()
        for start in (0, 32_000):
            turn_id = uuid.uuid4().hex
            await hosted.emit(SpeechStopped(turn_id, start + 16_000, start), Heard(turn_id, "Hello?", final=True))
            completed = await receive(connection, "conversation.item.input_audio_transcription.completed")
            assert completed.usage.seconds == 1.0


UNSUPPORTED: list[tuple[Any, str]] = [
    ({"type": "transcription"}, "session.type"),
    ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "session.audio.input.format"),
    ({"audio": {"output": {"format": {"type": "audio/pcm", "rate": 8000}}}}, "session.audio.output.format"),
    ({"audio": {"input": {"turn_detection": {"type": "psychic"}}}}, "session.audio.input.turn_detection.type"),
    (
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": "long"}}}},
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    ({"output_modalities": ["text", "audio"]}, "session.output_modalities"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "session.tools"),
    ({"tools": [{"type": "function"}]}, "session.tools"),
    ({"tool_choice": "whatever"}, "session.tool_choice"),
    ({"model": "another"}, "session.model"),
    ({"instructions": 3}, "session.instructions"),
    ({"audio": {"output": {"voice": 3}}}, "session.audio.output.voice"),
    ({"audio": {"output": {"voice": "a\0b"}}}, "session.audio.output.voice"),
    ({"audio": {"output": {"voice": "x" * 201}}}, "session.audio.output.voice"),
    ({"audio": {"output": {"voice": {"name": "x"}}}}, "session.audio.output.voice.id"),
    ({"audio": {"input": {"transcription": "en"}}}, "session.audio.input.transcription"),
    ({"audio": {"input": {"transcription": {"language": 5}}}}, "session.audio.input.transcription.language"),
    ({"audio": {"input": {"transcription": {"language": "en-US"}}}}, "session.audio.input.transcription.language"),
    (
        {"audio": {"input": {"transcription": {"language": "English"}}}},
        "session.audio.input.transcription.language",
    ),
    ("nonsense", "session"),
]


async def test_what_is_not_supported_is_an_error_and_the_session_goes_on(world: Any) -> None:
    await world.host()
    client = await world.connect()
    for number, (session, param) in enumerate(UNSUPPORTED):
        await client.send({"type": "session.update", "event_id": f"mine {number}", "session": session})
        error = (await client.until("error"))["error"]
        assert (error["param"], error["event_id"], error["type"]) == (param, f"mine {number}", "invalid_request_error")
        await client.send({"type": "session.update", "session": {"instructions": f"still here {number}"}})
        assert (await client.until("session.updated"))["session"]["instructions"] == f"still here {number}"


async def test_voice_and_language_reach_the_host_and_the_session_shows_them(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        created = (await receive(connection, "session.created")).session
        assert (created.audio.output.voice, created.audio.input.transcription) == (None, None)

        async def update(audio: Any) -> tuple[SessionChange, Any]:
            await connection.session.update(session={"type": "realtime", "audio": audio})
            return await hosted.until(SessionChange), (await receive(connection, "session.updated")).session.audio

        await connection.input_audio_buffer.append(audio=SECOND)
        hosted = await host.session()
        change, audio = await update({"output": {"voice": "alloy"}, "input": {"transcription": {"language": "de"}}})
        assert (change.voice, change.language) == ("alloy", "de")
        assert (audio.output.voice, audio.input.transcription.language) == ("alloy", "de")
        # What an update does not name stays.
        change, audio = await update({"output": {"voice": {"id": "voice_1234"}}, "input": {"transcription": {}}})
        assert (change.voice, change.language) == ("voice_1234", "de")
        assert (audio.output.voice.id, audio.input.transcription.language) == ("voice_1234", "de")
        change, audio = await update({"output": {"voice": ""}, "input": {"transcription": {"language": ""}}})
        assert (change.voice, change.language) == ("", "")
        assert (audio.output.voice, audio.input.transcription) == (None, None)


@pytest.mark.parametrize("transcription", [None, {"language": None}])
async def test_null_is_the_pipelines_own_again(world: Any, transcription: Any) -> None:
    host = await world.host()
    client = await world.connect()
    await client.send({"type": "input_audio_buffer.append", "audio": SECOND})
    hosted = await host.session()
    for voice, heard in (("low", {"language": "de"}), (None, transcription)):
        audio = {"output": {"voice": voice}, "input": {"transcription": heard}}
        await client.send({"type": "session.update", "session": {"audio": audio}})
        change = await hosted.until(SessionChange)
    assert (change.voice, change.language) == ("", "")


async def test_a_response_may_name_a_voice_of_its_own(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        await receive(connection, "session.created")
        await connection.response.create(response={"audio": {"output": {"voice": "coral"}}})
        hosted = await host.session()
        assert (await hosted.until(Respond)).voice == "coral"
        await connection.send({"type": "response.create", "response": {"audio": {"output": {"voice": 5}}}})  # type: ignore[typeddict-item]
        assert (await receive(connection, "error")).error.param == "response.audio.output.voice"


def declined(turn_id: str, kind: str, **asked: str) -> TurnDone:
    output = {"asked": asked, "declined": {name: f"there is no {name} {value!r}" for name, value in asked.items()}}
    stage = StageRecord(task_id="t", kind=kind, component="x", output=output)
    record = TurnRecord(
        project="default", turn_id=turn_id, session_id="s", index=0, pipeline="local", pipeline_hash="", stages=[stage]
    )
    return TurnDone(turn_id, encode(record))


async def test_what_no_component_had_is_told_once_and_of_openais_voices_nothing(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        await connection.input_audio_buffer.append(audio=SECOND)
        hosted = await host.session()
        turn_id = uuid.uuid4().hex
        for done in (
            declined(turn_id, "tts", voice="alloy"), declined(turn_id, "tts", voice="marvin"),
            declined(turn_id, "tts", voice="marvin"), declined(turn_id, "stt", language="xx"),
        ):  # fmt: skip
            await hosted.emit(done)
        told = [(await receive(connection, "error")).error for _ in range(2)]
        assert [(error.message, error.param) for error in told] == [
            ("there is no voice 'marvin'", "session.audio.output.voice"),
            ("there is no language 'xx'", "session.audio.input.transcription.language"),
        ]


async def test_bad_messages_are_errors_and_never_a_close(world: Any) -> None:
    host = await world.host()
    client = await world.connect()
    for bad, code in (
        ("{no json", "invalid_json"),
        ("[]", "invalid_event"),
        ('{"type": "response.creat"}', "unknown_event"),
        ('{"type": "openomni.ping", "sent": 1}', "unknown_event"),
        ('{"type": "input_audio_buffer.append", "audio": "###"}', "invalid_value"),
        ('{"type": "input_audio_buffer.append"}', "invalid_value"),
        ('{"type": "conversation.item.truncate"}', "invalid_value"),
        ('{"type": "conversation.item.truncate", "item_id": "x", "audio_end_ms": 1}', "item_not_found"),
        ('{"type": "conversation.item.delete", "item_id": "x"}', "item_not_found"),
        ('{"type": "conversation.item.create", "item": {"type": "message", "role": "boss"}}', "unsupported_value"),
        ('{"type": "conversation.item.create", "item": {"type": "message", "role": "user"}}', "invalid_value"),
        ('{"type": "conversation.item.create", "item": 5}', "invalid_value"),
        ('{"type": "response.create", "response": 5}', "invalid_value"),
        ('{"type": "output_audio_buffer.clear"}', "unsupported_event"),
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


async def test_the_models_are_the_projects_pipelines(world: Any) -> None:
    client = sdk(world)
    assert [model.id async for model in client.models.list()] == ["local", "x"]
    assert (await client.models.retrieve("local")).id == "local"
    with pytest.raises(NotFoundError, match="did you mean 'local'"):
        await client.models.retrieve("lokal")
    with pytest.raises(AuthenticationError, match="unknown"):
        await sdk(world, "oo_0000bbbb_nobody").models.list()


async def test_a_bad_token_is_refused_before_the_handshake(world: Any) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with sdk(world, "oo_bad").realtime.connect(model="local"):
            pass
    assert refused.value.response.status_code == 401
    assert b"unknown" in (refused.value.response.body or b"")


async def test_items_come_go_and_are_told_again(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        await connection.conversation.item.create(
            item={"type": "message", "role": "system", "content": [{"type": "input_text", "text": "It rains."}]}
        )
        item = (await receive(connection, "conversation.item.added")).item
        await connection.conversation.item.retrieve(item_id=item.id)
        assert (await receive(connection, "conversation.item.retrieved")).item.content[0].text == "It rains."
        await connection.conversation.item.delete(item_id=item.id)
        assert (await receive(connection, "conversation.item.deleted")).item_id == item.id
        hosted = await host.session()
        assert (await hosted.until(ItemIn)).message.role == "system"
        assert (await hosted.until(ItemGone)).item_id == item.id
        await connection.conversation.item.retrieve(item_id=item.id)
        assert (await receive(connection, "error")).error.code == "item_not_found"


async def test_a_picture_goes_along(world: Any) -> None:
    host = await world.host()
    jpeg = base64.b64encode(Frame(np.zeros((8, 8, 3), np.uint8)).jpeg()).decode()
    async with sdk(world).realtime.connect(model="local") as connection:
        for url in ("https://example.org/cat.jpg", "data:image/jpeg;base64,QUJD", f"data:image/jpeg;base64,{jpeg}"):
            parts: Any = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": url}]
            await connection.conversation.item.create(item={"type": "message", "role": "user", "content": parts})
        assert (await receive(connection, "error")).error.code == "unsupported_value"
        refused = (await receive(connection, "error")).error
        line = "`item.content`: a frame is no JPEG picture; send baseline JPEG"
        assert (refused.code, refused.message) == ("invalid_value", line)
        (picture,) = (await (await host.session()).until(ItemIn)).message.images
        assert picture.jpeg() == base64.b64decode(jpeg), "the model sees what the client sent"


async def test_written_replies_and_tools_and_what_was_heard(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
        await connection.session.update(
            session={"type": "realtime", "output_modalities": ["text"], "tools": [tool], "tool_choice": "required"}
        )
        updated = await receive(connection, "session.updated")
        assert (updated.session.output_modalities, updated.session.tools[0].name) == (["text"], "weather")
        hosted = await host.session()
        change = await hosted.until(SessionChange)
        assert (change.text_only, change.tools[0].name, change.tool_choice) == (True, "weather", "required")
        await connection.response.create()
        await hosted.until(Respond)
        turn_id = uuid.uuid4().hex
        call = ToolCall("c1", "weather", '{"city": "Rome"}')
        await hosted.emit(ReplyText(turn_id, "Let me see."), ToolCalled(turn_id, call), ReplyEnd(turn_id, "completed"))
        asked = await receive(connection, "response.function_call_arguments.done")
        assert (asked.call_id, asked.arguments) == ("c1", '{"city": "Rome"}')
        done = (await receive(connection, "response.done")).response
        assert [item.type for item in done.output] == ["message", "function_call"]
        assert done.output[0].content[0].text == "Let me see."
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": "c1", "output": "Sunny."}
        )
        result = (await hosted.until(ItemIn)).message
        assert (result.role, result.content, result.call_id) == ("tool", "Sunny.", "c1")


async def test_a_reply_is_truncated_to_what_was_heard(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        await connection.input_audio_buffer.append(audio=SECOND)
        hosted = await host.session()
        turn_id = uuid.uuid4().hex
        await hosted.answer(turn_id)
        spoken = (await receive(connection, "response.done")).response.output[0].id
        await connection.conversation.item.truncate(item_id=spoken, content_index=0, audio_end_ms=120)
        cut = await receive(connection, "conversation.item.truncated")
        assert (cut.item_id, cut.audio_end_ms) == (spoken, 120)
        assert await hosted.until(Truncate) == Truncate(turn_id, 0.12)


async def test_utterances_that_nobody_wants_answered_have_no_response(world: Any) -> None:
    host = await world.host()
    async with sdk(world).realtime.connect(model="local") as connection:
        detection: Any = {"type": "semantic_vad", "create_response": False}
        await connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
        hosted = await host.session()
        change = await hosted.until(SessionChange)
        assert (change.turn_detection, change.create_response, change.semantic) == (True, False, True)
        first, second = uuid.uuid4().hex, uuid.uuid4().hex
        await hosted.emit(SpeechStopped(first, 1600), ReplyEnd(first, "completed"), SpeechStopped(second, 3200))
        await receive(connection, "input_audio_buffer.speech_stopped")
        await receive(connection, "input_audio_buffer.speech_stopped")
        await connection.response.create()
        await hosted.until(Respond)
        await hosted.emit(ReplyText(second, "Yes."), ReplyEnd(second, "completed"))
        created = await receive(connection, "response.created")
        assert created.response.id == f"resp_{second}"
