"""Queued turns: run, recorded, acknowledged once, whatever dies on the way."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agent.backend import Backend, pipeline, speech
from openomni.agent import duty
from openomni.agent import work as queued
from openomni.bus.dead import dead, retry
from openomni.bus.work import enqueue

SIMULATED = "stt:simulated,llm:simulated,tts:simulated"


async def test_a_queued_turn_is_run_recorded_and_its_reply_uploaded(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    turn = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))

    await enqueue(backend.bus, turn)

    record = (await backend.until(lambda: backend.turns("completed")))[turn.turn_id]
    assert record.transcript == "What is the weather like?"
    assert record.reply_text == "It is sunny today. Take a walk."
    assert [(stage.kind, stage.agent, stage.status) for stage in record.stages] == [
        ("stt", "one", "completed"), ("llm", "one", "completed"), ("tts", "one", "completed"),
    ]  # fmt: skip
    upload = await backend.uploaded(record.reply_audio)
    assert upload["meta"]["kind"] == "reply"
    assert upload["data"].startswith(b"RIFF")
    assert len(upload["data"]) > 2 * 24_000 * 2


async def test_a_recording_is_cut_into_turns_by_its_speech(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    recording = backend.record(speech((0.5, 1.5), (3.0, 4.0), (5.5, 6.0), length=7.0))
    turn = backend.turn(pipeline(), recording, segment=True)

    await enqueue(backend.bus, turn)

    done = await backend.until(lambda: len(found := backend.turns("completed")) == 3 and found)
    turns = sorted(done.values(), key=lambda record: record.index)
    assert [record.index for record in turns] == [0, 1, 2]
    assert turns[0].turn_id == turn.turn_id
    assert {record.session_id for record in turns} == {turn.session_id}
    assert backend.downloads == [recording]
    starts = [record.segments[0].start / 16_000 for record in turns]
    assert all(abs(found - expected) < 0.3 for found, expected in zip(starts, [0.5, 3.0, 5.5], strict=True))


async def test_the_turns_of_a_session_follow_one_another_and_know_what_was_said(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    recording = backend.record(speech((0.5, 1.5), length=2.0))
    first, second, third = (backend.turn(pipeline(), recording, index=index, session_id="5e55") for index in range(3))
    first.then = [msgspec.to_builtins(second), msgspec.to_builtins(third)]

    await enqueue(backend.bus, first)

    done = await backend.until(lambda: len(found := backend.turns("completed")) == 3 and found)
    told = [done[turn.turn_id].stages[1].output["usage"]["input_tokens"] for turn in (first, second, third)]
    question, answer = 5, 7
    assert told == [question, 2 * question + answer, 3 * question + 2 * answer]


async def test_a_failed_turn_is_recorded_put_aside_and_does_not_stop_the_session(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    recording = backend.record(speech((0.5, 1.5), length=2.0))
    bad = backend.turn(pipeline(llm="fail: raise"), recording)
    good = backend.turn(pipeline(), recording, session_id=bad.session_id, index=1)
    bad.then = [msgspec.to_builtins(good)]

    await enqueue(backend.bus, bad)

    await backend.until(lambda: good.turn_id in backend.turns("completed"))
    failed = backend.turns("failed")[bad.turn_id]
    assert failed.reason == "llm:simulated: raised RuntimeError: simulated failure"
    assert [stage.status for stage in failed.stages] == ["completed", "failed", "cancelled"]
    letters = await dead(backend.bus, "default")
    assert [(letter.key, letter.attempts) for letter in letters] == [(bad.turn_id, 1)]


async def test_a_turn_that_no_agent_can_run_is_tried_again_before_it_is_put_aside(
    backend: Backend, employ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duty, "QUEUED_PATIENCE", 0.05)
    monkeypatch.setattr(queued, "RETRY_DELAY", 0.05)
    await employ("one", "host,stt:simulated,tts:simulated")
    turn = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))

    await enqueue(backend.bus, turn)

    record = (await backend.until(lambda: backend.turns("failed")))[turn.turn_id]
    assert "no agent offers llm:simulated" in record.reason
    async with asyncio.timeout(10):
        while not (letters := await dead(backend.bus, "default")):
            await asyncio.sleep(0.02)
    assert letters[0].attempts == 3


async def test_a_dead_turn_that_is_retried_replaces_its_failure(
    backend: Backend, employ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duty, "QUEUED_PATIENCE", 0.05)
    monkeypatch.setattr(queued, "RETRY_DELAY", 0.05)
    await employ("one", "host,stt:simulated,tts:simulated")
    turn = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))
    await enqueue(backend.bus, turn)
    async with asyncio.timeout(20):
        while not (letters := await dead(backend.bus, "default")):
            await asyncio.sleep(0.02)

    await employ("two", "llm:simulated")
    await retry(backend.bus, "default", letters[0].sequence)

    assert await backend.until(lambda: turn.turn_id in backend.turns("completed"))
    assert await dead(backend.bus, "default") == []


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (None, "there is no recording"),
        (b"not a sound", "is no audio or video that FFmpeg can read"),
        (b"", "is empty"),
    ],
)
async def test_a_recording_that_cannot_be_used_fails_its_turn_at_once(
    backend: Backend, employ, sound: bytes | None, reason: str
) -> None:
    await employ("one", f"host,{SIMULATED}")
    if sound is not None:
        backend.recordings["r1"] = sound
    turn = backend.turn(pipeline(), "r1")

    await enqueue(backend.bus, turn)

    record = (await backend.until(lambda: backend.turns("failed")))[turn.turn_id]
    assert reason in record.reason
    assert "/" not in record.reason.replace("audio/video", ""), "no path of the agent's disk"


async def test_a_silent_recording_says_so(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    turn = backend.turn(pipeline(), backend.record(speech(length=3.0)), segment=True)
    await enqueue(backend.bus, turn)
    record = (await backend.until(lambda: backend.turns("failed")))[turn.turn_id]
    assert record.reason.startswith("no speech was found")


async def test_a_turn_of_another_project_is_not_taken(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    recording = backend.record(speech((0.5, 1.5), length=2.0))
    theirs, ours = backend.turn(pipeline(), recording, project="other"), backend.turn(pipeline(), recording)
    await enqueue(backend.bus, theirs)
    await enqueue(backend.bus, ours)

    await backend.until(lambda: backend.turns("completed"))
    assert list(backend.turns()) == [ours.turn_id]
