"""Whatever a host asks, or the queue holds, an agent answers it and lives on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import virtual_time
from openomni.agent.health import AgentHealth
from openomni.agent.offers import resolve
from openomni.agent.pool import ComponentPool
from openomni.agent.stages import StageService
from openomni.agent.work import QueuedTurns
from openomni.bus.work import TurnWork, Work
from openomni.errors import OpenOmniError
from openomni.events import Message as Said
from openomni.events import (
    Picture,
    Prompt,
    Sound,
    StageAccepted,
    StageCall,
    StageDone,
    StageRefused,
    Text,
    Transcript,
    Usage,
    Value,
)
from openomni.media import Audio, Frame
from openomni.pipeline.queued import run_queued
from openomni.pipeline.spec import Pipeline, parse
from openomni.pipeline.utterance import Utterance
from openomni.records import TurnRecord, decode, encode
from pipeline.scripted import ScriptedRunner
from pipeline.test_session import KeptReply

PROFILE = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))

words = st.text(max_size=12)
numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 0.5, 1e20, -1e20])
json = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)

# ---- live calls ------------------------------------------------------------------------------------------------------

KINDS = ["stt", "llm", "tts", "vad", "turn", "emotion", "what", ""]
values: Any = st.sampled_from(
    [
        Sound(Audio.silence(0.1, 16_000)), Sound(Audio([], 8_000)), Text("Hi."), Text(""), Transcript("hi"),
        Prompt(()), Prompt((Said("user", "hi"),)), Usage(input_tokens=1), Picture(Frame.from_jpeg(
            Frame(np.zeros((8, 8, 3), np.uint8)).jpeg())),
    ]
)  # fmt: skip
calls = st.builds(
    StageCall,
    call_id=words,
    task_id=words,
    attempt=st.integers(-1, 3),
    kind=st.sampled_from(KINDS),
    component=st.sampled_from(["simulated", "energy", "", "os:system", "unittest.__main__:x"]),
    parameters=st.dictionaries(st.sampled_from(["delay_s", "text", "fail", "x"]), json, max_size=2),
    inputs=words,
    timeout=st.none() | st.sampled_from([0.05, -1.0, math.nan, math.inf]),
    asked=st.dictionaries(words, words, max_size=2),
)


@PROFILE
@given(calls, st.lists(values, max_size=3))
def test_any_call_is_done_refused_or_failed_in_a_line(call: StageCall, given_values: list[Value]) -> None:
    if call.parameters.get("delay_s"):
        call = msgspec.structs.replace(call, parameters={})

    async def inputs() -> AsyncIterator[Value]:
        for value in given_values:
            yield value

    async def main() -> None:
        offer = resolve("stt:simulated,llm:simulated,tts:simulated,vad:energy")
        health, pool = AgentHealth(2), ComponentPool(offer.components)
        answers: list[Any] = []
        failed = ""
        try:
            async for answer in StageService("a", pool, health).run(call, inputs()):
                answers.append(answer)  # noqa: PERF401
        except OpenOmniError as error:
            failed = str(error)
            assert "\n" not in failed
        assert failed or isinstance(answers[-1], StageDone | StageRefused)
        assert isinstance(answers[0], StageAccepted | StageRefused)
        assert health.idle
        await pool.close()

    asyncio.run(main())


# ---- queued turns ----------------------------------------------------------------------------------------------------


class Claimed:
    """A claim that remembers how it was settled."""

    attempt, last, name = 1, True, "turn"

    def __init__(self, work: Work) -> None:
        self.work = work
        self.settled: list[str] = []

    async def done(self) -> None:
        self.settled.append("done")

    async def fail(self, reason: str, delay: float) -> None:
        self.settled.append("fail")

    async def bury(self, reason: str, kind: str = "") -> None:
        self.settled.append("bury")


class Writer:
    """Takes records as the bus would: each must be one that can be read."""

    def __init__(self) -> None:
        self.records: list[TurnRecord] = []

    def write(self, record: TurnRecord) -> None:
        read = decode(encode(record))
        assert isinstance(read, TurnRecord)
        self.records.append(read)

    async def flush(self, timeout: float) -> None: ...


async def nothing(*_: Any) -> Any: ...


async def no_history(*_: Any) -> list[Said]:
    return []


async def pipeline_of(*_: Any) -> Pipeline:
    return parse({"name": "x", "stages": STAGES}, "x")


async def sound(*_: Any) -> Audio:
    return Audio.silence(0.5, 16_000)


STAGES = [{"stt": "simulated"}, {"llm": "simulated"}]
FIELDS = ["turn_id", "session_id", "index", "pipeline", "recording", "start", "end", "after", "options", "x"]
turns = st.builds(
    TurnWork,
    turn_id=st.sampled_from(["0" * 32, "t", ""]),
    session_id=words,
    index=st.integers(-2, 5),
    pipeline=words,
    recording=words,
    start=numbers,
    end=numbers,
    after=words,
    options=st.dictionaries(st.sampled_from(["origin", "cell", "reruns", "participant"]), json, max_size=3),
).map(lambda turn: msgspec.to_builtins(turn))
works = st.builds(
    Work,
    work_id=words,
    kind=st.just("turn"),
    project=st.just("p"),
    subject_id=words,
    spec_hash=words,
    ready_at=numbers,
    body=turns | st.dictionaries(st.sampled_from(FIELDS), json, max_size=10),
)


@PROFILE
@given(works)
def test_whatever_the_queue_holds_is_settled_and_recorded(work: Work) -> None:
    claim, writer = Claimed(work), Writer()
    queued = QueuedTurns(
        bus=SimpleNamespace(), project="p", health=AgentHealth(2), pool=SimpleNamespace(),
        recordings=SimpleNamespace(sound=sound, pictures=nothing),
        replies=SimpleNamespace(settle=nothing, of=lambda _: KeptReply()), writer=writer,
        references=SimpleNamespace(pipeline=pipeline_of, history=no_history, remember=lambda *_: None),
        runner=SimpleRunner, unmeasured=nothing,
    )  # type: ignore[arg-type]  # fmt: skip
    virtual_time.run(queued._settle(claim))  # type: ignore[arg-type]
    assert len(claim.settled) == 1
    # What is no turn at all is among the dead, and has no id that a record could have.
    assert writer.records or claim.settled == ["bury"]
    assert all(record.origin for record in writer.records)


class SimpleRunner(ScriptedRunner):
    unserved = False


@pytest.mark.parametrize("origin", ["experiment", "bench", None, 7, "whatever"])
async def test_a_queued_turn_says_where_it_comes_from(origin: Any) -> None:
    options = {"origin": origin, "cell": "c1", "reruns": "t0", "participant": "P07"}
    turn = TurnWork(turn_id="t", session_id="s", pipeline="x", recording="r", options=options)
    said = Utterance(audio=Audio.silence(0.5, 16_000))
    record = await run_queued(turn.work("p", "h"), turn, await pipeline_of(), said, ScriptedRunner(0, 0, 0), KeptReply)
    assert record.origin == (origin if origin in ("experiment", "bench") else "reprocess")
    assert (record.cell, record.reruns, record.participant, record.live) == ("c1", "t0", "P07", False)
    assert record.utterance_hash
    assert record.items == ["user:t"]
