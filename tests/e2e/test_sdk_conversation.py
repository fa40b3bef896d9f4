"""The official SDK holds whole conversations with a pipeline, over gateway, bus and agent as they are."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI

from e2e import staging
from e2e.conftest import Installation
from openomni.media import Audio

RATE = 24_000
FRAME = RATE // 50
PATIENCE = 60


@pytest.fixture(scope="module")
def made(simulated: Installation) -> Installation:
    # The second clause is still being made when the first one is heard: there is something to cancel.
    spec = staging.pipeline("talk", llm_s=0.1, tts_s=0.5, reply_s=1.5)
    spec["stages"][1]["text"] = "It is Paris. It lies on the Seine."
    simulated.put_pipeline(spec)
    return simulated


class Person:
    """Somebody at a plain client: speaks in real time, and reads all that comes."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self.news = asyncio.Event()

    async def read(self) -> None:
        async for event in self.connection:
            assert not event.type.startswith("openomni."), event
            self.events.append(event)
            self.news.set()

    def all(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    async def until(self, kind: str, count: int = 1) -> Any:
        """The `count`-th event of a kind, from the beginning."""
        try:
            async with asyncio.timeout(PATIENCE):
                while len(self.all(kind)) < count:
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise AssertionError(f"{kind} never came {count} times: {[each.type for each in self.events]}") from None
        return self.all(kind)[count - 1]

    async def say(self, seconds: float, then_silent: float = 0.0) -> None:
        """A tone, which is speech to an energy detector, and silence."""
        tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE)) / RATE)
        pcm = Audio(np.concatenate([tone, np.zeros(round(then_silent * RATE))]).astype(np.float32), RATE).pcm16()
        for start in range(0, len(pcm), FRAME * 2):
            await self.connection.input_audio_buffer.append(
                audio=base64.b64encode(pcm[start : start + FRAME * 2]).decode()
            )
            await asyncio.sleep(FRAME / RATE)

    async def silent_until(self, kind: str, count: int = 1) -> Any:
        """A microphone goes on while nobody speaks."""

        async def silence() -> None:
            while True:
                await self.say(0.0, 0.2)

        async with asyncio.TaskGroup() as group:
            quiet = group.create_task(silence())
            event = await self.until(kind, count)
            quiet.cancel()
        return event


@asynccontextmanager
async def talking(made: Installation, session: dict[str, Any]) -> AsyncIterator[Person]:
    client = AsyncOpenAI(base_url=f"{made.url}/v1", api_key=made.token, max_retries=0)
    async with client.realtime.connect(model="talk") as connection:
        person = Person(connection)
        reading = asyncio.create_task(person.read())
        await person.until("session.created")
        await connection.session.update(session={"type": "realtime", **session})
        await person.until("session.updated")
        try:
            yield person
        finally:
            reading.cancel()


def hold(made: Installation, session: dict[str, Any], script: Callable[[Person], Awaitable[None]]) -> Person:
    async def main() -> Person:
        async with talking(made, session) as person:
            await script(person)
            return person

    return asyncio.run(main())


def statuses(person: Person) -> list[str]:
    return [event.response.status for event in person.all("response.done")]


def test_five_turns_with_server_vad_an_interruption_and_a_cancel(made: Installation) -> None:
    async def script(person: Person) -> None:
        await person.say(0.0, 0.5)
        await person.say(0.8)
        await person.silent_until("response.done")
        # The reply of 3 s is all sent and still being played: whoever speaks now interrupts it.
        await person.say(1.4)
        spoken = person.all("response.done")[0].response.output[0].id
        await person.connection.conversation.item.truncate(item_id=spoken, content_index=0, audio_end_ms=900)
        await person.silent_until("response.output_audio.delta", len(person.all("response.output_audio.delta")) + 1)
        await person.connection.response.cancel()
        await person.silent_until("response.done", 2)
        for number in range(3, 6):
            await person.say(1.4)
            await person.silent_until("response.done", number)

    person = hold(made, {}, script)
    assert len(statuses(person)) == 5, [e.type for e in person.events]
    assert statuses(person)[0] == "completed"
    assert set(statuses(person)) <= {"completed", "cancelled"}
    assert len(person.all("input_audio_buffer.speech_started")) == 5
    assert len(person.all("conversation.item.input_audio_transcription.completed")) == 5
    assert len(person.all("conversation.item.truncated")) == 1
    assert not person.all("error")


@pytest.mark.long
def test_five_turns_with_manual_commits(made: Installation) -> None:
    async def script(person: Person) -> None:
        for number in range(1, 6):
            await person.say(0.6)
            await person.connection.input_audio_buffer.commit()
            heard = "conversation.item.input_audio_transcription.completed"
            assert (await person.until(heard, number)).transcript == "What is the capital of France?"
            await person.connection.response.create()
            if number == 3:
                await person.until("response.output_audio.delta", len(person.all("response.output_audio.delta")) + 1)
                await person.connection.response.cancel()
            await person.until("response.done", number)

    person = hold(made, {"audio": {"input": {"turn_detection": None}}}, script)
    assert len(statuses(person)) == 5, [e.type for e in person.events]
    assert not person.all("input_audio_buffer.speech_started")
    assert not person.all("error")


def test_five_written_turns_with_a_tool_and_an_agent_that_speaks_first(made: Installation) -> None:
    async def script(person: Person) -> None:
        await person.connection.response.create(response={"instructions": "Greet the person.", "tools": []})
        await person.until("response.done", 1)
        await type_in(person, "What is the weather like?")
        called = (await person.until("response.done", 2)).response.output[0]
        assert (called.type, called.name) == ("function_call", "weather")
        await person.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": called.call_id, "output": "sunny"}
        )
        await person.connection.response.create()
        await person.until("response.done", 3)
        await person.connection.session.update(session={"type": "realtime", "tools": []})
        for number in (4, 5):
            await type_in(person, "And tomorrow?")
            await person.until("response.done", number)

    tool = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
    person = hold(made, {"output_modalities": ["text"], "tools": [tool]}, script)
    assert statuses(person) == ["completed"] * 5
    texts = [event.text for event in person.all("response.output_text.done")]
    assert texts.count("It is Paris. It lies on the Seine.") >= 3
    assert not person.all("response.output_audio.delta")
    assert not person.all("error")


@pytest.mark.long
def test_a_voice_and_a_language_that_no_component_takes_fail_no_turn(made: Installation) -> None:
    async def script(person: Person) -> None:
        await person.say(0.0, 0.5)
        await person.say(0.8)
        await person.silent_until("response.done")
        for number, voice in enumerate(("marvin", "marvin"), 2):
            audio: Any = {"output": {"voice": voice}}
            await person.connection.session.update(session={"type": "realtime", "audio": audio})
            await type_in(person, "And tomorrow?")
            await person.until("response.done", number)
        await person.until("error", 2)

    audio = {"output": {"voice": "alloy"}, "input": {"transcription": {"language": "de"}}}
    person = hold(made, {"audio": audio}, script)
    assert statuses(person) == ["completed"] * 3
    assert [(event.error.message, event.error.param) for event in person.all("error")] == [
        ("stt:simulated takes no language", "session.audio.input.transcription.language"),
        ("tts:simulated takes no voice", "session.audio.output.voice"),
    ]


async def type_in(person: Person, text: str) -> None:
    await person.connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    )
    await person.connection.response.create()
