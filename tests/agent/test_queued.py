"""Queued turns: run, recorded, acknowledged once, whatever dies on the way."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agent.backend import Backend, pipeline, speech
from openomni.agent import service
from openomni.agent import work as queued
from openomni.bus import streams, subjects
from openomni.bus.claim import Claim
from openomni.bus.dead import dead, retry, write_back
from openomni.bus.envelope import found_turn
from openomni.bus.work import TurnWork, Work, enqueue
from openomni.pipeline.again import compare
from openomni.records import TurnRecord

SIMULATED = "stt:simulated,llm:simulated,tts:simulated"


async def test_a_queued_turn_is_run_recorded_and_its_reply_uploaded(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    turn = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))

    await enqueue(backend.bus, turn)

    record = (await backend.until(lambda: backend.turns("completed")))[turn.work_id]
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
    work = backend.turn(pipeline(), recording, segment=True)

    await enqueue(backend.bus, work)

    found = await backend.until(lambda: len(found := backend.turns("pending")) == 3 and found)
    turns = sorted(found.values(), key=lambda record: record.index)
    assert [record.index for record in turns] == [0, 1, 2]
    assert [record.turn_id for record in turns] == [found_turn(work.work_id, number) for number in range(3)]
    assert {record.session_id for record in turns} == {TurnWork.of(work).session_id}
    assert backend.downloads == [recording]
    starts = [record.segments[0].start / 16_000 for record in turns]
    assert all(abs(found - expected) < 0.5 for found, expected in zip(starts, [0.5, 3.0, 5.5], strict=True))


async def test_what_was_lost_is_looked_for_in_its_place_and_what_was_heard_as_one_is_one(
    backend: Backend, employ
) -> None:
    await employ("one", f"host,{SIMULATED}")
    recording = backend.record(speech((0.5, 1.5), (2.6, 3.1), (4.0, 5.0), (6.5, 7.0), (8.5, 9.0), length=10.0))
    work = backend.turn(
        pipeline(), recording, segment=True, rescued=True, start=2.6, heard_to=4.6, end=8.0, position=16_000, index=3
    )
    await enqueue(backend.bus, work)

    found = await backend.until(lambda: len(found := backend.turns("pending")) == 2 and found)
    first, second = sorted(found.values(), key=lambda record: record.index)
    assert (first.turn_id, first.index, second.index) == (work.work_id, 3, 4)
    said = [(record.segments[0].start / 16_000 - 1, record.segments[0].end / 16_000 - 1) for record in (first, second)]
    assert said == [(pytest.approx(2.6, abs=0.3), pytest.approx(5.0, abs=0.4)),
                    (pytest.approx(6.5, abs=0.3), pytest.approx(7.0, abs=0.4))]  # fmt: skip


async def test_where_nothing_was_said_no_turn_is_reported_as_failed(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    recording = backend.record(speech((0.5, 1.5), length=6.0))
    work = backend.turn(pipeline(), recording, segment=True, rescued=True, start=2.5, heard_to=2.5)
    await enqueue(backend.bus, work)
    (record,) = (await backend.until(lambda: backend.turns("cancelled"))).values()
    assert (record.turn_id, record.outcome, record.live) == (work.work_id, "dismissed", False)
    assert await dead(backend.bus, "default") == []


async def test_a_turn_knows_what_was_said_before_it_in_its_session(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    recording = backend.record(speech((0.5, 1.5), length=2.0))

    async def run(index: int, after: str) -> tuple[str, int]:
        work = backend.turn(pipeline(), recording, index=index, session_id="5e55", after=after)
        await enqueue(backend.bus, work)
        done = await backend.until(lambda: backend.turns("completed").get(work.work_id))
        return work.work_id, done.stages[1].output["usage"]["input_tokens"]

    first, alone = await run(0, "")
    second, after_one = await run(1, first)
    question, answer = 5, 7
    assert [alone, after_one] == [question, 2 * question + answer]
    # An agent that was not there asks the API what was said.
    (one,) = await backend.there("one")
    await backend.bus.request(subjects.drain("default", one.agent_id))
    await employ("two", f"host,{SIMULATED}")
    _, after_two = await run(2, second)
    assert after_two == 3 * question + 2 * answer


async def test_a_queued_turn_is_run_again_with_what_was_said_before_it(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    recording = backend.record(speech((0.5, 1.5), length=2.0))

    async def run(**about: object) -> TurnRecord:
        work = backend.turn(pipeline(), recording, **about)
        await enqueue(backend.bus, work)
        return await backend.until(lambda: backend.turns("completed").get(work.work_id))

    first = await run(session_id="5e55")
    was = await run(index=1, session_id="5e55", after=first.turn_id)
    assert was.items == [f"user:{first.turn_id}", f"reply:{first.turn_id}", f"user:{was.turn_id}"]
    now = await run(session_id="a9a1", reruns=was.turn_id)
    assert (now.reruns, now.items[:2], now.utterance) == (was.turn_id, was.items[:2], was.utterance)
    assert compare(was, now).stages == {"stt": True, "llm": True, "tts": True}
    usage = [turn.stages[1].output["usage"]["input_tokens"] for turn in (was, now)]
    assert usage[0] == usage[1]
    voice = await run(session_id="a9a1", index=1, reruns=now.turn_id, begin="tts")
    assert ([stage.kind for stage in voice.stages], voice.given["llm"]) == (["tts"], "recorded")
    assert compare(now, voice).stages == {"tts": True}


async def test_a_pipeline_that_the_server_does_not_have_fails_its_turn_in_a_line(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    work = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))
    backend.pipelines.clear()
    await enqueue(backend.bus, work)
    record = (await backend.until(lambda: backend.turns("failed")))[work.work_id]
    assert record.reason == f"there is no pipeline of the hash {work.spec_hash} in this project"


async def test_work_of_a_kind_that_is_not_known_is_put_aside_and_can_be_written_back(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    later = Work(work_id="w1", kind="dream", project="default")
    await enqueue(backend.bus, later)
    async with asyncio.timeout(20):
        while not (letters := await dead(backend.bus, "default")):
            await asyncio.sleep(0.02)
    assert [(letter.kind, letter.cause) for letter in letters] == [("dream", "unreadable")]
    await write_back(backend.bus, "default", letters[0].sequence)
    async with asyncio.timeout(20):
        while not (again := await dead(backend.bus, "default")) or again[0].sequence == letters[0].sequence:
            await asyncio.sleep(0.02)
    assert msgspec.json.decode(again[0].content)["attempt"] == 2


async def test_a_failed_turn_is_recorded_and_put_aside(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    bad = backend.turn(pipeline(llm="fail: raise"), backend.record(speech((0.5, 1.5), length=2.0)))

    await enqueue(backend.bus, bad)

    failed = (await backend.until(lambda: backend.turns("failed")))[bad.work_id]
    assert failed.reason == "llm:simulated: raised RuntimeError: simulated failure"
    assert [stage.status for stage in failed.stages] == ["completed", "failed", "cancelled"]
    async with asyncio.timeout(20):
        while not (letters := await dead(backend.bus, "default")):
            await asyncio.sleep(0.02)
    assert [(letter.key, letter.attempts) for letter in letters] == [(bad.work_id, 1)]


async def test_a_turn_that_no_agent_can_run_is_tried_again_before_it_is_put_aside(
    backend: Backend, employ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "QUEUED_PATIENCE", 0.05)
    monkeypatch.setattr(queued, "RETRY_DELAY", 0.05)
    await employ("one", "host,stt:simulated,tts:simulated")
    turn = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))

    await enqueue(backend.bus, turn)

    record = (await backend.until(lambda: backend.turns("failed")))[turn.work_id]
    assert "no agent offers llm:simulated" in record.reason
    async with asyncio.timeout(10):
        while not (letters := await dead(backend.bus, "default")):
            await asyncio.sleep(0.02)
    assert letters[0].attempts == 3


async def test_a_turn_that_is_handed_out_again_after_its_end_is_not_run_again(
    backend: Backend, employ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus heard nothing of its end."""

    async def unheard(self: Claim) -> None:
        monkeypatch.undo()
        await self.release()

    monkeypatch.setattr(Claim, "done", unheard)
    await employ("one", f"host,{SIMULATED}")
    turn = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))
    await enqueue(backend.bus, turn)
    async with asyncio.timeout(20):
        while turn.work_id not in backend.turns("completed") or await _left(backend):
            await asyncio.sleep(0.02)
    after = backend.turn(pipeline(), turn.body["recording"], index=1)
    await enqueue(backend.bus, after)
    await backend.until(lambda: after.work_id in backend.turns("completed"))
    assert backend.runs(turn.work_id) == 1


async def _left(backend: Backend) -> int:
    return (await backend.bus.jetstream.stream_info(subjects.WORK)).state.messages


async def test_a_dead_turn_that_is_retried_replaces_its_failure(
    backend: Backend, employ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "QUEUED_PATIENCE", 0.05)
    monkeypatch.setattr(queued, "RETRY_DELAY", 0.05)
    await employ("one", "host,stt:simulated,tts:simulated")
    turn = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))
    await enqueue(backend.bus, turn)
    async with asyncio.timeout(20):
        while not (letters := await dead(backend.bus, "default")):
            await asyncio.sleep(0.02)

    await employ("two", "llm:simulated")
    await retry(backend.bus, "default", letters[0].sequence)

    assert await backend.until(lambda: turn.work_id in backend.turns("completed"))
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

    record = (await backend.until(lambda: backend.turns("failed")))[turn.work_id]
    assert reason in record.reason
    assert "/" not in record.reason.replace("audio/video", ""), "no path of the agent's disk"


async def test_a_silent_recording_says_so(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    turn = backend.turn(pipeline(), backend.record(speech(length=3.0)), segment=True)
    await enqueue(backend.bus, turn)
    record = (await backend.until(lambda: backend.turns("failed")))[turn.work_id]
    assert record.reason.startswith("no speech was found")


async def test_a_turn_of_another_project_is_not_taken(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    recording = backend.record(speech((0.5, 1.5), length=2.0))
    theirs, ours = backend.turn(pipeline(), recording, project="other"), backend.turn(pipeline(), recording)
    await enqueue(backend.bus, theirs)
    await enqueue(backend.bus, ours)

    await backend.until(lambda: backend.turns("completed"))
    assert list(backend.turns()) == [ours.work_id]


async def test_a_stage_whose_reference_is_given_does_not_run(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    work = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)), given={"stt": "What day is it?"})
    await enqueue(backend.bus, msgspec.structs.replace(work, lane="throughput", group="7"))
    record = (await backend.until(lambda: backend.turns("completed")))[work.work_id]
    assert (record.transcript, record.given) == ("What day is it?", {"stt": "reference"})
    assert [stage.kind for stage in record.stages] == ["llm", "tts"]
    assert record.stages[0].output["usage"]["input_tokens"] == 4


async def test_a_reference_for_a_stage_that_is_not_there_fails_the_turn(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}")
    work = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)), given={"end_to_end": "Monday."})
    await enqueue(backend.bus, work)
    record = (await backend.until(lambda: backend.turns("failed")))[work.work_id]
    assert record.reason == "the pipeline simulated has no end_to_end stage; it has stt, llm, tts"


async def test_what_runs_of_a_cancelled_group_is_stopped_and_what_is_queued_later_is_run(
    backend: Backend, employ
) -> None:
    worker = await employ("one", f"host,{SIMULATED}", slots=2)
    recording = backend.record(speech((0.5, 1.5), length=2.0))
    endless = backend.turn(pipeline(llm="fail: hang"), recording)
    await enqueue(backend.bus, msgspec.structs.replace(endless, lane="throughput", group="7"))
    await backend.until(lambda: worker._health.busy)
    await streams.cancel(backend.bus, "default", "7")
    await backend.until(lambda: not worker._health.busy)
    again = backend.turn(pipeline(), recording)
    await enqueue(backend.bus, msgspec.structs.replace(again, lane="throughput", group="7"))
    await backend.until(lambda: backend.turns("completed"))
    assert set(backend.turns()) == {again.work_id}
    assert (await backend.bus.jetstream.stream_info(subjects.WORK)).state.messages == 0
    assert await dead(backend.bus, "default") == []
