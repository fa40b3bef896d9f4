"""Live calls: a stage run by another agent while its input still comes, and everything that can break one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import msgspec
import numpy as np
import pytest
from nats.aio.msg import Msg

from openomni import clock, events
from openomni.bus import subjects, wire
from openomni.bus.calls import AgentLost, AgentRefused, call_stage, serve_stages
from openomni.bus.connection import Bus, BusError
from openomni.errors import OpenOmniError
from openomni.events import (
    Message,
    Prompt,
    Sound,
    StageAccepted,
    StageAnswer,
    StageCall,
    StageCancel,
    StageDone,
    StageFailed,
    StageOutput,
    StageRefused,
    Text,
    Value,
)
from openomni.media import Audio, Frame

from .conftest import Deployment, eventually

Serve = Callable[[StageCall, AsyncIterator[Value]], AsyncIterator[StageAnswer]]


def stage_call(kind: str = "llm", project: str = "default", call_id: str = "c1") -> StageCall:
    return StageCall(call_id, "t1", 1, kind, "x", {}, subjects.call_input(project, call_id))


def done() -> StageDone:
    return StageDone(0, 0.0, 0.0, 0.0, None, clock.now())


async def values(*given: Value) -> AsyncIterator[Value]:
    for value in given:
        yield value


async def echo(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
    yield StageAccepted("a1", clock.now())
    async for value in inputs:
        yield StageOutput(0, clock.now(), value)
    yield done()


@pytest.fixture
async def agent(deployment: Deployment) -> Bus:
    return await deployment.agent("a1")


@pytest.fixture
async def host(deployment: Deployment) -> Bus:
    return await deployment.agent("host")


async def serve(agent: Bus, run: Serve, **timing: float) -> None:
    await serve_stages(agent, "default", "a1", run, **timing)
    await agent.flush()


async def outputs(answers: AsyncIterator[StageAnswer]) -> list[Value]:
    async with asyncio.timeout(20):
        return [answer.value async for answer in answers if isinstance(answer, StageOutput)]


async def test_outputs_come_in_order_while_inputs_still_go(agent: Bus, host: Bus) -> None:
    await serve(agent, echo)
    heard = asyncio.Queue[Text]()

    async def asked() -> AsyncIterator[Value]:
        for i in range(3):
            yield Text(str(i))
            # The next one is only said when the answer to this one is here.
            assert (await heard.get()).text == str(i)

    kinds = []
    async with asyncio.timeout(10):
        async for answer in call_stage(host, "a1", stage_call(), asked()):
            kinds.append(type(answer).__name__)
            if isinstance(answer, StageOutput):
                assert isinstance(answer.value, Text)
                heard.put_nowait(answer.value)
    assert kinds == ["StageAccepted", "StageOutput", "StageOutput", "StageOutput", "StageDone"]


async def test_an_agent_that_is_not_there_is_lost_at_once(host: Bus) -> None:
    with pytest.raises(AgentLost, match="agent a1 is not on the bus"):
        await outputs(call_stage(host, "a1", stage_call(), values(), accept=60))


async def test_an_agent_may_refuse(agent: Bus, host: Bus) -> None:
    async def busy(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageRefused("a1", "no slot is free")

    await serve(agent, busy)
    with pytest.raises(AgentRefused, match="agent a1 refused llm:x: no slot is free"):
        await outputs(call_stage(host, "a1", stage_call(), values()))


async def test_an_agent_that_does_not_accept_in_time_is_lost(agent: Bus, host: Bus) -> None:
    cancelled = asyncio.Event()

    async def slow(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        yield done()

    await serve(agent, slow, beat=60)
    with pytest.raises(AgentLost, match=r"agent a1 was silent for 0\.1 s"):
        await outputs(call_stage(host, "a1", stage_call(), values(), accept=0.1))
    async with asyncio.timeout(5):
        await cancelled.wait()


@pytest.mark.parametrize(
    ("error", "reason"), [(ValueError("no\nlines"), "ValueError: no"), (OpenOmniError("broken"), "broken")]
)
async def test_a_stage_that_raises_fails_with_one_line_and_the_next_call_works(
    agent: Bus, host: Bus, error: Exception, reason: str
) -> None:
    async def run(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        if call.call_id == "bad":
            raise error
        yield done()

    await serve(agent, run)
    answers = [answer async for answer in call_stage(host, "a1", stage_call(call_id="bad"), values())]
    assert answers[-1] == StageFailed(reason)
    answers = [answer async for answer in call_stage(host, "a1", stage_call(call_id="good"), values())]
    assert isinstance(answers[-1], StageDone)


async def test_a_stage_that_ends_without_a_result_has_failed(agent: Bus, host: Bus) -> None:
    async def run(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())

    await serve(agent, run)
    answers = [answer async for answer in call_stage(host, "a1", stage_call(), values())]
    assert answers[-1] == StageFailed("the stage ended without a result")


async def test_closing_the_answers_cancels_the_stage_at_once(agent: Bus, host: Bus) -> None:
    cancelled = asyncio.Event()

    async def endless(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        yield StageOutput(0, clock.now(), Text("first"))
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server = await serve_stages(agent, "default", "a1", endless)
    await agent.flush()
    async with asyncio.timeout(10), aclosing(call_stage(host, "a1", stage_call(), values())) as answers:  # type: ignore[type-var]
        async for answer in answers:
            if isinstance(answer, StageOutput):
                break
    async with asyncio.timeout(5):
        await cancelled.wait()
    await eventually(lambda: server.running == 0)


async def test_an_error_of_the_inputs_cancels_the_call_and_is_raised(agent: Bus, host: Bus) -> None:
    cancelled = asyncio.Event()

    async def run(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        try:
            async for _ in inputs:
                pass
        finally:
            cancelled.set()

    async def broken() -> AsyncIterator[Value]:
        yield Text("fine")
        raise ValueError("the stage before it broke")

    await serve(agent, run)
    with pytest.raises(ValueError, match="the stage before it broke"):
        await outputs(call_stage(host, "a1", stage_call(), broken()))
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_silence_means_that_the_agent_is_lost(agent: Bus, host: Bus) -> None:
    async def quiet(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        await asyncio.Event().wait()

    await serve(agent, quiet, beat=60)
    with pytest.raises(AgentLost, match=r"agent a1 was silent for 0\.2 s"):
        await outputs(call_stage(host, "a1", stage_call(), values(), silence=0.2))


async def test_signs_of_life_keep_a_long_call_going(agent: Bus, host: Bus) -> None:
    async def thinking(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        await asyncio.sleep(0.8)
        yield StageOutput(0, clock.now(), Text("at last"))
        yield done()

    await serve(agent, thinking, beat=0.05, silence=0.4)
    assert await outputs(call_stage(host, "a1", stage_call(), values(), beat=0.05, silence=0.4)) == [Text("at last")]


async def test_a_caller_that_vanishes_stops_the_stage(agent: Bus, host: Bus) -> None:
    cancelled = asyncio.Event()

    async def run(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        try:
            async for _ in inputs:
                pass
        finally:
            cancelled.set()

    await serve(agent, run, silence=0.2)
    await host.publish(subjects.call("default", "a1"), events.encode(stage_call()), host.inbox())
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_a_killed_agent_is_lost(deployment: Deployment, host: Bus) -> None:
    program = """
import asyncio, sys
from openomni import clock, events
from openomni.bus.calls import serve_stages
from openomni.bus.connection import connect
from openomni.bus.credentials import Credentials, Keys
async def main():
    keys = Keys(sys.argv[2])
    async def renew(): return Credentials(sys.argv[3], 1e12, sys.argv[4])
    bus = await connect(sys.argv[1], renew, keys, "a1")
    async def run(call, inputs):
        yield events.StageAccepted("a1", clock.now())
        yield events.StageOutput(0, clock.now(), events.Text("one"))
        await asyncio.Event().wait()
    await serve_stages(bus, "default", "a1", run)
    await bus.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    from openomni.bus.credentials import Keys

    keys = Keys.create()
    issued = deployment.authority.issue("agent", keys.public, 600, project="default", agent_id="a1")
    arguments = [sys.executable, "-c", program, deployment.server.url, keys.seed, issued.jwt, issued.inbox_prefix]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
        answers = call_stage(host, "a1", stage_call(), values(), silence=1.0)
        assert isinstance(await anext(answers), StageAccepted)
        assert isinstance(await anext(answers), StageOutput)
        process.kill()
        with pytest.raises(AgentLost):
            await anext(answers)


async def test_a_gap_in_the_outputs_is_an_error_not_a_hole(agent: Bus, host: Bus) -> None:
    async def gappy(message: Msg) -> None:
        for answer in (StageAccepted("a1", 0.0), StageOutput(0, 0.0, Text("a")), StageOutput(2, 0.0, Text("c"))):
            await agent.respond(message, events.encode(answer))

    await agent.subscribe(subjects.call("default", "a1"), gappy)
    await agent.flush()
    with pytest.raises(AgentLost, match="outputs 1 to 1 of agent a1 were lost"):
        await outputs(call_stage(host, "a1", stage_call(), values()))


async def test_a_gap_in_the_inputs_fails_the_stage(agent: Bus, host: Bus) -> None:
    await serve(agent, echo)
    inbox = host.inbox()
    async with asyncio.timeout(10), await host.subscribe(inbox) as answers:
        await host.publish(subjects.call("default", "a1"), events.encode(stage_call()), inbox)
        assert isinstance(events.decode_answer((await anext(answers)).data), StageAccepted)
        await host.publish(stage_call().inputs, events.encode(events.StageInput(1, Text("late"))))
        assert events.decode_answer((await anext(answers)).data) == StageFailed("inputs 0 to 0 were lost on the way")
        await host.publish(stage_call().inputs, events.encode(StageCancel()))


async def test_a_long_sound_goes_in_pieces_and_is_whole(agent: Bus, host: Bus) -> None:
    await serve(agent, echo)
    samples = np.random.default_rng(1).uniform(-1, 1, 16_000 * 60).astype(np.float32)
    sounds = await outputs(call_stage(host, "a1", stage_call(), values(Sound(Audio(samples, 16_000), 5.0))))
    assert len(sounds) > 1
    assert all(isinstance(sound, Sound) and sound.audio.samples.nbytes <= wire.PIECE for sound in sounds)
    assert np.array_equal(Audio.join([sound.audio for sound in sounds if isinstance(sound, Sound)]).samples, samples)
    assert isinstance(sounds[1], Sound)
    assert sounds[1].start == pytest.approx(5.0 + wire.PIECE / 4 / 16_000)


async def test_a_prompt_larger_than_a_message_arrives_whole(agent: Bus, host: Bus) -> None:
    await serve(agent, echo)
    noise = np.random.default_rng(1).integers(0, 255, (720, 1280, 3), np.uint8)
    prompt = Prompt((Message("user", "x" * 2_000_000, (Frame(noise), Frame(noise))),))
    (back,) = await outputs(call_stage(host, "a1", stage_call(), values(prompt)))
    assert isinstance(back, Prompt)
    assert back.messages[0].content == "x" * 2_000_000
    assert len(back.messages[0].images) == 2


async def test_what_is_too_large_for_the_bus_says_so(agent: Bus, host: Bus) -> None:
    await serve(agent, echo)
    with pytest.raises(BusError, match="too large for the bus; send it by reference"):
        await outputs(call_stage(host, "a1", stage_call(), values(Text("x" * (wire.LARGEST + 1)))))


async def test_a_fast_sender_waits_for_a_slow_stage(agent: Bus, host: Bus) -> None:
    sent = 0
    go_on = asyncio.Event()

    async def flood() -> AsyncIterator[Value]:
        nonlocal sent
        for _ in range(500):
            sent += 1
            yield Text(str(sent))

    async def slow(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        await go_on.wait()
        async for value in inputs:
            yield StageOutput(0, clock.now(), value)
        yield done()

    await serve(agent, slow)
    calling = asyncio.create_task(outputs(call_stage(host, "a1", stage_call(), flood())))
    await eventually(lambda: sent == 33)
    await host.flush()
    await agent.flush()
    assert sent == 33
    go_on.set()
    assert [value.text for value in await calling if isinstance(value, Text)] == [str(i + 1) for i in range(500)]


async def test_draining_lets_a_call_finish_and_takes_no_more(agent: Bus, host: Bus) -> None:
    go_on = asyncio.Event()

    async def run(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        await go_on.wait()
        yield done()

    server = await serve_stages(agent, "default", "a1", run)
    await agent.flush()
    calling = asyncio.create_task(outputs(call_stage(host, "a1", stage_call(), values())))
    await eventually(lambda: server.running == 1)
    draining = asyncio.create_task(server.drain())
    await asyncio.sleep(0)
    await agent.flush()
    with pytest.raises(AgentLost, match="not on the bus"):
        await outputs(call_stage(host, "a1", stage_call(call_id="c2"), values()))
    go_on.set()
    await calling
    await draining


async def test_an_agent_that_stops_says_so_and_another_may_be_asked(agent: Bus, host: Bus) -> None:
    async def run(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        await asyncio.Event().wait()

    server = await serve_stages(agent, "default", "a1", run)
    await agent.flush()
    answers = call_stage(host, "a1", stage_call(), values())
    async with asyncio.timeout(10):
        assert isinstance(await anext(answers), StageAccepted)
        await server.aclose()
        with pytest.raises(AgentLost, match="agent a1 gave the call up: it stopped"):
            await anext(answers)


async def test_a_call_of_another_version_is_not_answered_and_does_no_harm(agent: Bus, host: Bus) -> None:
    await serve(agent, echo)
    await host.publish(subjects.call("default", "a1"), msgspec.msgpack.encode({"type": "stage.future"}), host.inbox())
    assert await outputs(call_stage(host, "a1", stage_call(), values(Text("hi")))) == [Text("hi")]


class Gesture(events.Event, frozen=True, tag="gesture"):
    """A value of a later version."""

    angle: float = 0.5


class StageMood(events.Event, frozen=True, tag="stage.mood"):
    """An answer of a later version."""


async def test_what_a_later_version_says_ends_no_call(agent: Bus, host: Bus) -> None:
    heard: list[Value] = []

    async def newer(call: StageCall, inputs: AsyncIterator[Value]) -> AsyncIterator[StageAnswer]:
        yield StageAccepted("a1", clock.now())
        yield StageMood()  # type: ignore[misc]
        yield StageOutput(0, clock.now(), Gesture())  # type: ignore[arg-type]
        async for value in inputs:
            heard.append(value)
            yield StageOutput(0, clock.now(), value)
        yield done()

    await serve(agent, newer)
    sent: list[Value] = [Text(str(i)) if i % 2 else Gesture() for i in range(100)]  # type: ignore[misc]
    known = [value for value in sent if isinstance(value, Text)]
    assert await outputs(call_stage(host, "a1", stage_call(), values(*sent[1:]), first=sent[0])) == known
    assert heard == known
