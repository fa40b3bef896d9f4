"""The bus, the API and agents go away in the middle of work: it is all done in the end, and done once."""

from __future__ import annotations

import msgspec
import pytest

from agent.backend import Backend, pipeline, speech
from openomni import clock
from openomni.bus.dead import dead
from openomni.bus.work import enqueue
from openomni.events import SessionClose, TurnDone
from openomni.records import TurnRecord

SIMULATED = "stt:simulated,llm:simulated,tts:simulated"


async def test_bus_and_api_killed_in_mid_run_of_twenty_turns(backend: Backend, employ) -> None:
    await employ("one", f"host,{SIMULATED}", slots=4)
    recording = backend.record(speech((0.5, 1.5), length=2.0))
    turns = [backend.turn(pipeline(llm="first_token_s: 0.3"), recording) for _ in range(20)]
    for turn in turns:
        await enqueue(backend.bus, turn)

    await backend.until(lambda: len(backend.turns("completed")) >= 4)
    await backend.restart_nats()
    await backend.until(lambda: len(backend.turns("completed")) >= 8, timeout=60)
    await backend.stop_api()
    await backend.until(lambda: len(backend.turns("completed")) >= 12, timeout=60)
    await backend.start_api()

    done = await backend.until(lambda: len(found := backend.turns("completed")) == 20 and found, timeout=90)
    assert done.keys() == {turn.work_id for turn in turns}
    assert all(backend.runs(turn.work_id) == 1 for turn in turns)
    assert await dead(backend.bus, "default") == []
    for record in done.values():
        await backend.uploaded(record.reply_audio)


async def test_a_turn_waits_for_its_recording_while_the_api_is_away(backend: Backend, employ, caplog) -> None:
    await employ("one", f"host,{SIMULATED}")
    turn = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))
    await backend.stop_api()
    await enqueue(backend.bus, turn)
    await backend.until(lambda: "waiting up to 60 s for it to come back" in caplog.text)

    await backend.start_api()

    await backend.until(lambda: turn.work_id in backend.turns("completed"))
    assert f"{backend.url} is back" in caplog.text


async def test_a_turn_that_ends_while_the_bus_is_away_is_reported_when_it_is_back(backend: Backend, employ) -> None:
    worker = await employ("one", f"host,{SIMULATED}")
    turn = backend.turn(pipeline(tts="first_chunk_s: 1.0"), backend.record(speech((0.5, 1.5), length=2.0)))
    await enqueue(backend.bus, turn)
    await backend.until(lambda: worker._health.busy)

    await backend.restart_nats()

    await backend.until(lambda: turn.work_id in backend.turns("completed"), timeout=60)
    await backend.until(lambda: not worker._health.busy)
    assert backend.runs(turn.work_id) == 1


@pytest.mark.long
async def test_the_turn_of_an_agent_that_was_killed_goes_to_another(backend: Backend, start, employ) -> None:
    killed = await start("first", f"host,{SIMULATED}")
    turn = backend.turn(pipeline(llm="first_token_s: 2.0"), backend.record(speech((0.5, 1.5), length=2.0)))
    await enqueue(backend.bus, turn)
    await backend.until(lambda: any(agent.busy for agent in backend.fleet.agents))
    await employ("second", f"host,{SIMULATED}")

    killed.kill()

    record = (await backend.until(lambda: backend.turns("completed"), timeout=60))[turn.work_id]
    assert {stage.agent for stage in record.stages} == {"second"}
    assert backend.runs(turn.work_id) == 1


@pytest.mark.long
async def test_credentials_are_renewed_and_a_session_outlives_them(backend: Backend, employ) -> None:
    backend.ttl = 4.0
    await employ("one", f"host,{SIMULATED}")
    async with backend.session("one", pipeline()) as live:
        for _ in range(3):
            await live.say(speech((0.5, 1.5), length=2.5))
            await live.until(TurnDone)
            before = backend.renewals
            await backend.until(lambda before=before: backend.renewals > before)
            since = clock.now()
            await backend.until(lambda since=since: any(agent.at > since for agent in backend.fleet.agents))
        await live.link.send(SessionClose())


async def test_an_agent_that_the_server_forgot_registers_again(backend: Backend, employ) -> None:
    backend.ttl = 2.0
    await employ("one", f"host,{SIMULATED}")
    (before,) = await backend.there("one")

    backend.agents.clear()

    await backend.until(lambda: any(agent.agent_id != before.agent_id for agent in backend.fleet.agents))
    backend.ttl = 3600.0
    turn = backend.turn(pipeline(), backend.record(speech((0.5, 1.5), length=2.0)))
    await enqueue(backend.bus, turn)
    await backend.until(lambda: turn.work_id in backend.turns("completed"))


async def test_what_a_killed_agent_had_not_sent_is_sent_when_it_is_started_again(backend: Backend, start) -> None:
    agent = await start("one", f"host,{SIMULATED}")
    async with backend.session("one", pipeline()) as live:
        await backend.stop_api()
        await live.say(speech((0.5, 1.5), length=2.5))
        done = msgspec.json.decode((await live.until(TurnDone)).record, type=TurnRecord)
        # On its disk, which a thread of its own writes: what is not there yet when it is killed, nobody can send.
        await backend.until(
            lambda: any(path.stat().st_size > 44 for path in backend.folder.rglob(f"{done.reply_audio}.wav"))
        )
        agent.kill()
        await agent.ended()
    await backend.start_api()
    assert not backend.uploads

    await start("one", f"host,{SIMULATED}")

    await backend.uploaded(done.reply_audio)
