"""A stage that this agent does not offer runs on another one; when that is lost, on a third."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from agent.backend import Backend, remote, runner
from openomni import Audio, Declined, component
from openomni.agent.runner import NoAgent
from openomni.components.stage import StageError
from openomni.events import Message, Prompt, Sound, Text, Value
from openomni.pipeline.spec import Framework, StageSpec
from openomni.pipeline.task import TaskTrace

PROMPT = Prompt((Message("user", "What is the weather like?"),))
gates: list[threading.Event] = []


@component("tts", "gated-test")
class Gated:
    """Speaks each clause as two pieces; the clause `wait` only its first before a gate opens."""

    slots = 4

    def synthesize(self, text: str) -> Iterator[Audio]:
        level = len(text) / 100
        yield Audio(np.full(1600, level), 16_000)
        if text == "wait":
            gates[-1].wait(20)
        yield Audio(np.full(1600, level), 16_000)


@component("tts", "voices-test")
class Voices:
    """Speaks with the voice `loud`, or its own."""

    def synthesize(self, text: str, voice: str | None = None) -> Audio:
        if voice not in (None, "loud"):
            raise Declined("voice", f"there is no voice {voice!r}")
        return Audio(np.full(1600, 0.5 if voice else 0.1), 16_000)


@component("llm", "gated-test")
class GatedWriter:
    """Writes one word, and the rest when a gate opens."""

    slots = 4

    def generate(self, messages: Any) -> Iterator[str]:
        yield "Once"
        gates[-1].wait(20)
        yield " more."


@pytest.fixture(autouse=True)
def gate() -> Iterator[threading.Event]:
    gates[:] = [threading.Event()]
    yield gates[0]
    gates[0].set()


async def given(*values: Value) -> AsyncIterator[Value]:
    for value in values:
        yield value


def simulated(kind: str, timeout: float | None = None, **parameters: Any) -> StageSpec:
    return StageSpec(kind, "simulated", parameters, Framework(timeout=timeout))


def words(values: list[Value]) -> str:
    return "".join(value.text for value in values if isinstance(value, Text))


async def test_a_stage_runs_on_an_agent_that_offers_it_and_is_accounted_for(backend: Backend) -> None:
    await remote(backend, "writer", "llm:simulated")
    stage = simulated("llm", first_token_s=0.1)
    task = TaskTrace(stage)

    values = [value async for value in (await runner(backend)).run(stage, task, given(PROMPT))]

    assert words(values) == "It is sunny today. Take a walk."
    (attempt,) = task.attempts
    assert attempt.agent == "writer"
    assert attempt.claimed <= attempt.received <= attempt.model_started <= attempt.first_output <= attempt.ended
    assert 0.1 <= attempt.model_s < attempt.ended - attempt.opened
    # How the way splits into out and back is known only as well as the offset of the clocks; the sum is exact.
    assert min(attempt.transfer_in_s, attempt.transfer_out_s) >= 0
    assert attempt.transfer_in_s + attempt.transfer_out_s > 0
    assert attempt.load_s > 0, "it was not warm"


async def test_long_sound_travels_whole(backend: Backend) -> None:
    await remote(backend, "ears", "stt:simulated")
    stage = simulated("stt", delay_s=0.0)

    values = [
        value
        async for value in (await runner(backend)).run(
            stage, TaskTrace(stage), given(Sound(Audio.silence(120, 16_000)))
        )
    ]

    assert values[-1].diagnostics["seconds"] == 120


async def test_an_agent_lost_before_any_output_is_replaced(backend: Backend) -> None:
    first = await remote(backend, "first", "llm:simulated")
    stage = simulated("llm", first_token_s=3)
    task = TaskTrace(stage)
    running = collect(await runner(backend), stage, task, PROMPT)
    await backend.until(lambda: first.health.busy)
    await remote(backend, "second", "llm:simulated")

    await first.vanish()

    assert words(await running) == "It is sunny today. Take a walk."
    assert [(attempt.agent, attempt.status) for attempt in task.attempts] == [
        ("first", "failed"),
        ("second", "started"),
    ]
    assert "silent" in task.attempts[0].reason
    record = task.record(0.0)
    assert record.lost_s == pytest.approx(task.attempts[0].seconds, abs=1e-5)
    assert record.lost_s > 1, "it takes some seconds to find out that an agent is gone"


async def test_a_voice_goes_on_with_the_first_clause_that_nobody_heard(backend: Backend, gate: threading.Event) -> None:
    first = await remote(backend, "first", "tts:gated-test")
    stage = StageSpec("tts", "gated-test")
    task = TaskTrace(stage)
    heard: list[float] = []
    two = asyncio.Event()

    async def listen(host: Any) -> None:
        async for value in host.run(stage, task, given(Text("a" * 10), Text("wait"), Text("b" * 30))):
            heard.append(round(float(value.audio.samples[0]), 2))
            if len(heard) == 3:
                two.set()

    listening = asyncio.create_task(listen(await runner(backend)))
    await two.wait()
    await remote(backend, "second", "tts:gated-test")
    await first.vanish()
    await listening

    # Two pieces of the first clause, one of the second when its agent was lost, then the third from the other agent.
    assert heard == [0.1, 0.1, 0.04, 0.3, 0.3]
    assert [attempt.agent for attempt in task.attempts] == ["first", "second"]
    assert task.record(0.0).lost_s == 0, "what was heard was not lost"


async def test_a_language_model_lost_in_mid_sentence_fails(backend: Backend) -> None:
    first = await remote(backend, "first", "llm:gated-test")
    await remote(backend, "second", "llm:gated-test", slots=1)
    stage = StageSpec("llm", "gated-test")
    task = TaskTrace(stage)
    outputs = (await runner(backend)).run(stage, task, given(PROMPT))
    assert await anext(outputs) == Text("Once")

    await first.vanish()

    with pytest.raises(StageError, match=r"llm:gated-test: agent .* silent.* after part of its output was used"):
        await anext(outputs)
    assert len(task.attempts) == 1


async def test_a_component_that_raises_is_not_tried_elsewhere(backend: Backend) -> None:
    await remote(backend, "one", "llm:simulated")
    await remote(backend, "two", "llm:simulated")
    stage = simulated("llm", fail="raise")
    task = TaskTrace(stage)

    with pytest.raises(StageError, match=r"^llm:simulated: raised RuntimeError: simulated failure$"):
        await collect(await runner(backend), stage, task, PROMPT)

    assert [attempt.status for attempt in task.attempts] == ["failed"]
    assert task.record(0.0).lost_s == 0, "it is no agent that went"


async def test_a_component_that_hangs_there_fails_by_the_stages_own_timeout(backend: Backend) -> None:
    await remote(backend, "one", "llm:simulated")
    stage = simulated("llm", timeout=0.2, fail="hang")
    with pytest.raises(StageError, match="llm:simulated: hung"):
        await collect(await runner(backend), stage, TaskTrace(stage), PROMPT)


async def test_a_busy_agent_is_waited_for(backend: Backend) -> None:
    busy = await remote(backend, "busy", "llm:simulated", slots=1)
    host = await runner(backend)
    stage = simulated("llm", first_token_s=0.3)
    both = asyncio.gather(*(collect(host, stage, TaskTrace(stage), PROMPT) for _ in range(2)))
    await backend.until(lambda: busy.health.busy)
    assert [words(values) for values in await both] == ["It is sunny today. Take a walk."] * 2


async def test_what_nobody_offers_is_named_with_the_mend(backend: Backend) -> None:
    await remote(backend, "ears", "stt:simulated")
    stage = simulated("llm")
    task = TaskTrace(stage)
    host = await runner(backend, patience=0.1)
    assert host.missing((stage, simulated("stt"))) == ["llm:simulated"]
    with pytest.raises(NoAgent, match="no agent offers llm:simulated; start one: openomni agent --offer llm:simulated"):
        await collect(host, stage, task, PROMPT)
    assert host.unserved


async def test_an_agent_that_comes_in_time_is_taken(backend: Backend) -> None:
    stage = simulated("llm")
    task = TaskTrace(stage)
    running = collect(await runner(backend, patience=0.9), stage, task, PROMPT)
    await asyncio.sleep(0.05)
    assert not running.done()
    await remote(backend, "late", "llm:simulated")
    assert words(await running) == "It is sunny today. Take a walk."


async def test_agents_of_another_project_are_never_asked(backend: Backend) -> None:
    await remote(backend, "stranger", "llm:simulated", project="other")
    stage = simulated("llm")
    with pytest.raises(NoAgent):
        await collect(await runner(backend, patience=0.1), stage, TaskTrace(stage), PROMPT)


async def test_cancelling_stops_the_other_agent_too(backend: Backend) -> None:
    there = await remote(backend, "there", "llm:simulated")
    stage = simulated("llm", first_token_s=30)
    running = collect(await runner(backend), stage, TaskTrace(stage), PROMPT)
    await backend.until(lambda: there.health.busy)

    running.cancel()

    await asyncio.gather(running, return_exceptions=True)
    await backend.until(lambda: not there.health.busy)


def collect(host: Any, stage: StageSpec, task: TaskTrace, *inputs: Value) -> asyncio.Task[list[Value]]:
    async def run() -> list[Value]:
        return [value async for value in host.run(stage, task, given(*inputs))]

    return asyncio.create_task(run())


async def spoken(backend: Backend, task: TaskTrace) -> float:
    (sound,) = await collect(await runner(backend), task.stage, task, Text("Hello."))
    return round(float(sound.audio.samples[0]), 2)


@pytest.mark.parametrize(
    ("voice", "level", "declined"),
    [("loud", 0.5, {}), ("", 0.1, {}), ("alloy", 0.1, {"voice": "there is no voice 'alloy'"})],
)
async def test_what_a_session_asks_for_travels(
    backend: Backend, voice: str, level: float, declined: dict[str, str]
) -> None:
    await remote(backend, "speaker", "tts:voices-test")
    task = TaskTrace(StageSpec("tts", "voices-test"))
    task.ask(voice=voice, language="de")

    assert await spoken(backend, task) == level
    assert task.asked == ({"voice": voice} if voice else {})
    assert task.declined == declined
    assert task.record(0.0).output.get("declined", {}) == declined


async def test_an_agent_of_an_earlier_version_is_asked_for_nothing_that_it_does_not_know(backend: Backend) -> None:
    old = await remote(backend, "speaker", "tts:voices-test")
    host = await runner(backend)
    old.presence.options = {}
    old.health.on_change()
    await backend.until(lambda: not any(each.options for each in host._fleet.find("tts", "voices-test")))
    task = TaskTrace(StageSpec("tts", "voices-test"))
    task.ask(voice="loud")

    (sound,) = await collect(host, task.stage, task, Text("Hello."))

    assert round(float(sound.audio.samples[0]), 2) == 0.1
    assert task.declined == {"voice": "tts:voices-test takes no voice"}
