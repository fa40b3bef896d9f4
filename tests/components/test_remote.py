"""Remote components against a server that speaks the protocol, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import wave
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from components.feeding import given, outputs, prompt
from components.protocol_server import KEY, MODEL, VOICE, ProtocolServer, serving
from openomni import Audio, Frame, Message, Transcript, Usage
from openomni.components import registry
from openomni.components.remote import key_for, variable_for
from openomni.components.stage import LocalStage, StageError
from openomni.errors import OpenOmniError
from openomni.events import Prompt, Sound, Text, Tool, ToolCall, Value


@pytest.fixture
async def server() -> AsyncIterator[ProtocolServer]:
    async with serving() as speaking:
        yield speaking


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def stage(kind: str, server: ProtocolServer, **parameters: Any) -> LocalStage:
    with_defaults = {"model": MODEL, "base_url": server.url, "api_key": KEY, **parameters}
    return LocalStage(kind, registry.build(kind, "openai", with_defaults))


INPUT: dict[str, Value] = {"stt": Sound(VOICE.resample(16_000)), "llm": prompt("What time is it?"), "tts": Text("Hi")}


async def refusal(built: LocalStage) -> str:
    with pytest.raises(StageError) as caught:
        await outputs(built, INPUT[built.kind])
    await built.close()
    return caught.value.reason


# ---- what is asked and what comes back -----------------------------------------------------------------------


async def test_chat_streams_its_pieces_and_its_usage(server: ProtocolServer) -> None:
    writer = stage("llm", server, temperature=0.5, max_tokens=20, input_price=1.0, output_price=2.0)
    values = await outputs(writer, Prompt((Message("system", "Be short."), Message("user", "Time?"))))
    assert values == [Text("It "), Text("is "), Text("noon."), Usage(input_tokens=7, output_tokens=3, cost=13e-6)]
    path, asked = server.asked[0]
    assert path == "/v1/chat/completions"
    assert asked["messages"] == [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Time?"}]
    assert (asked["stream"], asked["temperature"], asked["max_tokens"]) == (True, 0.5, 20)
    await writer.close()


async def test_chat_leaves_out_what_is_not_set(server: ProtocolServer) -> None:
    writer = stage("llm", server)
    await outputs(writer, prompt())
    assert set(server.asked[0][1]) == {"messages", "model", "stream", "stream_options"}
    await writer.close()


async def test_chat_sends_pictures_as_data_urls(server: ProtocolServer) -> None:
    frame = Frame(np.full((32, 48, 3), 200, np.uint8))
    writer = stage("llm", server)
    await outputs(writer, Prompt((Message("user", "What is this?", (frame,)),)))
    text, picture = server.asked[0][1]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    head, _, data = picture["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert Frame.from_jpeg(base64.b64decode(data)).pixels.shape == (32, 48, 3)
    await writer.close()


async def test_voice_streams_pcm_whole_however_it_is_cut(server: ProtocolServer) -> None:
    voice = stage("tts", server, voice="alloy", instructions="Softly.", speed=1.25, price=15.0)
    values = await outputs(voice, Text("Hello."))
    spoken = Audio.join(value.audio for value in values if isinstance(value, Sound))
    assert spoken.rate == 24_000
    assert spoken.pcm16() == VOICE.pcm16()
    assert values[-1] == Usage(characters=6, cost=6 * 15e-6)
    asked = server.asked[0][1]
    assert asked == {
        "model": MODEL, "voice": "alloy", "input": "Hello.", "response_format": "pcm", "instructions": "Softly.",
        "speed": 1.25,
    }  # fmt: skip
    await voice.close()


async def test_transcriber_posts_a_wav(server: ProtocolServer) -> None:
    hearer = stage("stt", server, language="en", prompt="OpenOmni", price=0.006)
    speech = VOICE.resample(16_000)
    values = await outputs(hearer, Sound(speech))
    assert values == [Transcript("What time is it?", language="en"), Usage(seconds=1.0, cost=0.0001)]
    body = server.asked[0][1]["multipart"]
    start = body.index(b"RIFF")
    with wave.open(io.BytesIO(body[start:])) as sent:
        assert (sent.getframerate(), sent.getnchannels(), sent.getsampwidth()) == (16_000, 1, 2)
        assert sent.readframes(sent.getnframes()) == speech.pcm16()
    assert b'name="language"' in body
    assert b'name="prompt"' in body
    await hearer.close()


async def test_transcriber_asks_nothing_about_too_little_sound(server: ProtocolServer) -> None:
    hearer = stage("stt", server)
    assert await outputs(hearer) == [Transcript("")]
    assert server.asked == []
    await hearer.close()


async def test_cancel_hangs_up(server: ProtocolServer) -> None:
    server.misbehave = "endless"
    writer = stage("llm", server)
    running = writer.run(given(prompt()))
    assert await anext(running) == Text("It ")
    await running.aclose()
    async with asyncio.timeout(10):
        await server.left.wait()
    await writer.all_free()
    server.misbehave = ""
    assert len(await outputs(writer, prompt())) == 4
    await writer.close()


async def test_key_and_address_come_from_the_environment(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    writer = LocalStage("llm", registry.build("llm", "openai", {"model": MODEL}))
    assert len(await outputs(writer, prompt())) == 4
    await writer.close()


async def test_a_model_calls_a_tool_and_reads_its_result(server: ProtocolServer) -> None:
    writer = stage("llm", server)
    asked = Message("user", "What is the weather in Rome?")
    tools = (Tool("weather", "The weather of a city.", {"type": "object"}),)
    (call,) = await outputs(writer, Prompt((asked,), tools, "weather"))
    assert call == ToolCall("c1", "weather", '{"city": "Rome"}')
    _, body = server.asked[-1]
    assert body["tools"][0]["function"]["description"] == "The weather of a city."
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    said = Message("assistant", "", tool_calls=(call,)), Message("tool", "sunny", call_id="c1")
    assert len(await outputs(writer, Prompt((asked, *said), tools))) == 4
    _, body = server.asked[-1]
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"city": "Rome"}'
    assert body["messages"][2] == {"role": "tool", "content": "sunny", "tool_call_id": "c1"}
    await writer.close()


async def test_a_key_goes_to_the_server_that_it_was_given_for_and_to_no_other(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "the owner's key for OpenAI")
    named = {"model": MODEL, "base_url": server.url}
    writer = LocalStage("llm", registry.build("llm", "openai", named))
    with pytest.raises(StageError, match="refuses the key"):
        await outputs(writer, prompt())
    assert server.keys == ["none"]
    await writer.close()
    monkeypatch.setenv(variable_for(server.url), KEY)
    writer = LocalStage("llm", registry.build("llm", "openai", named))
    assert len(await outputs(writer, prompt())) == 4
    await writer.close()


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://api.example.org/v1", "OPENOMNI_KEY_API_EXAMPLE_ORG"),
        ("http://10.0.0.1:8080/v1", "OPENOMNI_KEY_10_0_0_1_8080"),
        ("https://OPENAI_API_KEY@evil.example/v1", "OPENOMNI_KEY_EVIL_EXAMPLE"),
    ],
)
def test_the_variable_of_a_servers_key(url: str, variable: str) -> None:
    assert variable_for(url) == variable


@pytest.mark.parametrize(
    "url", ["https://api.openai.com.evil.example/v1", "http://api.openai.com/v1", "https://me@api.openai.com/v1"]
)
def test_what_only_looks_like_openai_gets_no_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert key_for(url) == ""
    assert key_for("https://api.openai.com/v1/") == KEY


# ---- what can go wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stt", "llm", "tts"])
def test_missing_key_is_told_when_it_is_built(kind: str) -> None:
    with pytest.raises(OpenOmniError) as caught:
        registry.build(kind, "openai")
    assert str(caught.value) == (
        f"{kind}:openai: there is no key for OpenAI; set OPENAI_API_KEY, or `base_url` for a server of your own"
    )
    with pytest.raises(OpenOmniError, match="base_url 'localhost:8000' is no address; write it as http://host:port"):
        registry.build(kind, "openai", {"base_url": "localhost:8000"})


@pytest.mark.parametrize("kind", ["stt", "llm", "tts"])
async def test_wrong_key_and_unknown_model_are_told_with_the_mend(kind: str, server: ProtocolServer) -> None:
    said = await refusal(stage(kind, server, api_key="wrong"))
    assert said == (
        f"{server.url} refuses the key (Incorrect API key provided); check "
        f"{variable_for(server.url)} on the agent's machine, or `api_key`"
    )
    said = await refusal(stage(kind, server, model="huge"))
    assert said.startswith(f"{server.url} has no model 'huge' (The model")
    assert said.endswith("check `model` and that `base_url` ends in /v1")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("busy", "is over its limit (busy); wait, or raise the quota"),
        ("broken", "failed with status 500 (broken); look at the server's log"),
        ("picky", "refuses the request (picky); check the parameters of model 'small'"),
        ("cut", "broke off in the middle of its answer"),
    ],
)
async def test_other_faults_of_the_server_are_told(fault: str, words: str, server: ProtocolServer) -> None:
    server.misbehave = fault
    assert words in await refusal(stage("llm", server))


async def test_answer_that_is_no_speech_and_no_transcript_is_told(server: ProtocolServer) -> None:
    server.misbehave = "words"
    assert "sent application/json and no raw PCM" in await refusal(stage("tts", server))
    assert "gave no transcript; check that it is a transcription server" in await refusal(stage("stt", server))


@pytest.mark.parametrize("kind", ["stt", "llm", "tts"])
async def test_server_that_is_not_there_is_told(kind: str, server: ProtocolServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    said = await refusal(stage(kind, server))
    assert said.startswith(f"{server.url} can't be reached (")
    assert said.endswith("check `base_url` and that it runs")
