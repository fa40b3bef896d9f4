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
from components.protocol_server import KEY, MODEL, THINK, VOICE, ProtocolServer, serving
from openomni import Audio, Frame, Message, Transcript, Usage
from openomni.components import registry
from openomni.components.remote import key_for
from openomni.components.stage import LocalStage, StageError, StageTiming
from openomni.errors import OpenOmniError
from openomni.events import Prompt, Sound, Text, Tool, ToolCall, Value


@pytest.fixture
async def server(bare_environment: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProtocolServer]:
    """A server whose key this machine holds."""
    async with serving() as speaking:
        monkeypatch.setenv("OPENOMNI_KEYS", f"{speaking.url}={KEY}")
        yield speaking


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENOMNI_KEYS"):
        monkeypatch.delenv(name, raising=False)


def stage(kind: str, server: ProtocolServer, **parameters: Any) -> LocalStage:
    with_defaults = {"model": MODEL, "base_url": server.url, **parameters}
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


async def test_reasoning_that_a_server_tells_apart_stays_apart(server: ProtocolServer) -> None:
    values = await outputs(stage("llm", server), prompt(THINK))
    texts = [value for value in values if isinstance(value, Text)]
    assert "".join(value.text for value in texts) == "It is noon."
    assert "".join(value.reasoning for value in texts) == "They ask for the time."


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


async def test_a_session_may_ask_for_another_voice(server: ProtocolServer) -> None:
    voice = stage("tts", server, voice="alloy")
    await outputs(voice, Text("Hello."), asked={"voice": "coral"})
    await outputs(voice, Text("Hello."))
    assert [asked["voice"] for _, asked in server.asked] == ["coral", "alloy"]
    await voice.close()


async def test_a_voice_that_the_server_lacks_is_asked_for_once_and_its_own_speaks(server: ProtocolServer) -> None:
    voice = stage("tts", server, voice="alloy")
    timing = StageTiming()
    for _ in range(2):
        values = await outputs(voice, Text("Hello."), asked={"voice": "marvin"}, timing=timing)
        assert any(isinstance(value, Sound) for value in values)
    assert [asked["voice"] for _, asked in server.asked] == ["marvin", "alloy", "alloy"]
    assert "Invalid value: 'marvin'" in timing.declined["voice"]
    await voice.close()


async def test_what_is_not_the_voices_fault_is_told_as_ever(server: ProtocolServer) -> None:
    voice = stage("tts", server, voice="alloy")
    for fault, reason in (("picky", "refuses the request"), ("busy", "over its limit")):
        server.misbehave = fault
        with pytest.raises(StageError, match=reason):
            await outputs(voice, Text("Hello."), asked={"voice": "coral"})
    server.misbehave = ""
    await outputs(voice, Text("Hello."), asked={"voice": "coral"})
    assert server.asked[-1][1]["voice"] == "coral"
    await voice.close()


@pytest.mark.parametrize(("asked", "told"), [({"language": "de"}, "de"), ({"language": "xx"}, "en"), ({}, "en")])
async def test_a_session_may_say_its_language(server: ProtocolServer, asked: dict[str, str], told: str) -> None:
    hearer = stage("stt", server, language="en")
    timing = StageTiming()
    values = await outputs(hearer, INPUT["stt"], asked=asked, timing=timing)
    assert values[0] == Transcript("What time is it?", language=told)
    assert f"\r\n\r\n{told}\r\n".encode() in server.asked[-1][1]["multipart"]
    assert ("language" in timing.declined) == (asked.get("language", told) != told)
    await hearer.close()


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
    monkeypatch.delenv("OPENOMNI_KEYS")
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


@pytest.mark.parametrize("kind", ["stt", "llm", "tts"])
async def test_what_is_meant_for_openai_goes_to_no_other_server(
    kind: str, server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, f"the owner's {name}")
    headers = ("Authorization: Bearer the owner's header", "X-Gateway: the owner's gateway", "no header")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "\n".join(headers))
    monkeypatch.delenv("OPENOMNI_KEYS")
    said = await refusal(stage(kind, server))
    assert said == (
        f"{server.url} asks for a key (Incorrect API key provided); "
        f"set OPENOMNI_KEYS={server.url}=KEY on the agent's machine"
    )
    assert server.keys == ["none"]
    assert "owner" not in str(server.headers)
    monkeypatch.setenv("OPENOMNI_KEYS", f"http://other.example/v1=another {server.url}={KEY}")
    built = stage(kind, server)
    assert await outputs(built, INPUT[kind])
    assert server.keys == ["none", KEY]
    assert "owner" not in str(server.headers)
    await built.close()


async def test_the_home_of_the_key_gets_the_rest_of_its_environment(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_ORG_ID", "our-organisation")
    writer = stage("llm", server)
    assert len(await outputs(writer, prompt())) == 4
    assert server.headers[-1]["openai-organization"] == "our-organisation"
    await writer.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com.evil.example/v1",
        "https://api.openai.com@evil.example/v1",
        "https://evil.example/v1?https://api.openai.com/v1",
        "https://me@api.openai.com/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com:8443/v1",
        "https://api.openai.com/v1/../v2",
        "https://api-example.org/v1",
        "https://api.example.org/v1",
        "http://api.example.org/tenant-a/v1",
        "https://api.example.org/tenant-b/v1",
        "https://api.example.org/tenant-a/v1?as=tenant-b",
    ],
)
def test_an_address_that_only_looks_like_the_owners_gets_no_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENOMNI_KEYS", "https://api.example.org/tenant-a/v1=sk-a=")
    assert key_for(url) == ""
    assert key_for("https://API.openai.com/v1/") == KEY
    assert key_for("https://api.example.org/tenant-a/v1/") == "sk-a="


@pytest.mark.parametrize(
    "entry", ["sk-secret", "api.example.org=sk-secret", "https://api.example.org/v1=", "https://=k"]
)
def test_keys_that_can_not_be_read_are_told_without_showing_them(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENOMNI_KEYS", f"https://good.example/v1=key {entry}")
    with pytest.raises(OpenOmniError) as caught:
        registry.build("llm", "openai", {"base_url": "http://127.0.0.1:9/v1"})
    assert str(caught.value) == (
        "llm:openai: OPENOMNI_KEYS: entry 2 is no address with a key; write https://host/v1=KEY"
    )


async def test_the_variable_to_set_is_the_one_that_would_be_sent(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENOMNI_KEYS")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert (await refusal(stage("llm", server))).endswith("; set OPENAI_API_KEY on the agent's machine")
    with pytest.raises(OpenOmniError, match=r"set OPENOMNI_KEYS=https://api\.openai\.com/v1=KEY, or"):
        registry.build("llm", "openai", {"base_url": "https://api.openai.com/v1"})
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    assert (await refusal(stage("llm", server))).endswith("; check OPENAI_API_KEY on the agent's machine")


@pytest.mark.parametrize("kind", ["stt", "llm", "tts"])
def test_a_pipeline_holds_no_key(kind: str) -> None:
    with pytest.raises(OpenOmniError, match="unknown parameter 'api_key'"):
        registry.build(kind, "openai", {"api_key": KEY})


async def test_a_server_on_this_machine_needs_no_proxy(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    writer = stage("llm", server)
    assert await outputs(writer, prompt("What time is it?"))
    await writer.close()


async def test_a_server_of_ones_own_needs_no_key(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENOMNI_KEYS")
    server.asks_for_a_key = False
    writer = stage("llm", server)
    assert len(await outputs(writer, prompt())) == 4
    await writer.close()


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
    with pytest.raises(OpenOmniError, match="is no address"):
        registry.build(kind, "openai", {"base_url": "http://[::1/v1"})


@pytest.mark.parametrize("kind", ["stt", "llm", "tts"])
async def test_wrong_key_and_unknown_model_are_told_with_the_mend(
    kind: str, server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENOMNI_KEYS", f"{server.url}=wrong")
    said = await refusal(stage(kind, server))
    assert (
        said == f"{server.url} refuses the key (Incorrect API key provided); check OPENOMNI_KEYS on the agent's machine"
    )
    monkeypatch.setenv("OPENOMNI_KEYS", f"{server.url}={KEY}")
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
