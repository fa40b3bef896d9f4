"""Live sessions on agents that are processes of their own."""

from __future__ import annotations

import msgspec
import pytest

from agent.backend import Backend, pipeline, speech
from openomni.bus.sessions import HostRefused
from openomni.events import AudioEnd, ReplyEnd, ReplySound, SessionClose, SessionEnded, TurnDone
from openomni.records import TurnRecord

SIMULATED = "stt:simulated,llm:simulated,tts:simulated"


def read(done: TurnDone) -> TurnRecord:
    return msgspec.json.decode(done.record, type=TurnRecord)


async def test_an_agent_hosts_a_session_and_answers(backend: Backend, start) -> None:
    await start("host", f"host,{SIMULATED}")
    async with backend.session("host", pipeline()) as live:
        await live.say(speech((0.5, 1.5), length=2.5))
        await live.link.send(AudioEnd())
        ended = await live.until(SessionEnded)

    assert ended.reason == ""
    turn = read(live.of(TurnDone)[-1])
    assert turn.transcript == "What is the weather like?"
    assert turn.status == "completed"
    sound = live.of(ReplySound)
    assert sum(len(piece.pcm) for piece in sound) == 2 * 2 * 24_000, "two clauses of a second each"
    # How little of it is nobody's is asked where time is virtual; here a busy machine adds to that, not to the sum.
    assert sum(part.seconds for part in turn.parts) == pytest.approx(turn.voice_to_voice_s, abs=1e-4)
    nobodys = sum(part.seconds for part in turn.parts if part.what == "residue")
    assert turn.residue_s == pytest.approx(nobodys, abs=1e-4)

    await backend.until(lambda: backend.turns("completed"))
    upload = await backend.uploaded(turn.reply_audio)
    assert upload["meta"]["turn_id"] == turn.turn_id
    await backend.until(lambda: any(each.status == "closed" for each in backend.sessions()))


async def test_a_turn_spreads_over_agents_and_outlives_one_that_is_killed(backend: Backend, start) -> None:
    await start("host", "host,stt:simulated,tts:simulated")
    writers = {name: await start(name, "llm:simulated") for name in ("writer-1", "writer-2")}
    slow = pipeline(llm="first_token_s: 1.5")
    async with backend.session("host", slow) as live:
        await live.say(speech((0.5, 1.5), length=2.5))
        (busy,) = await backend.until(
            lambda: [agent.name for agent in backend.fleet.agents if agent.busy and agent.name in writers]
        )
        writers[busy].kill()
        done = read(await live.until(TurnDone))
        await live.link.send(SessionClose())

    assert done.status == "completed"
    assert done.reply_text == "It is sunny today. Take a walk."
    (llm,) = [stage for stage in done.stages if stage.kind == "llm"]
    assert [(attempt.agent, attempt.status) for attempt in llm.attempts] == [
        (busy, "failed"),
        (({*writers} - {busy}).pop(), "completed"),
    ]
    recorded = await backend.until(lambda: backend.turns("completed"))
    assert list(recorded) == [done.turn_id]


async def test_a_component_that_hangs_fails_the_turn_by_name_and_the_next_works(backend: Backend, start) -> None:
    await start("host", f"host,{SIMULATED}")
    for llm, status in (("fail: hang, timeout: 0.3", "failed"), ("", "completed")):
        async with backend.session("host", pipeline(llm=llm)) as live:
            await live.say(speech((0.5, 1.5), length=2.5))
            end = await live.until(ReplyEnd)
            assert end.status == status
            assert ("llm:simulated: hung" in end.reason) == (status == "failed")
            await live.link.send(SessionClose())


async def test_a_session_whose_pipeline_nobody_can_run_is_refused_with_the_mend(backend: Backend, start) -> None:
    await start("host", "host,stt:simulated")
    with pytest.raises(HostRefused, match="no agent offers llm:simulated, tts:simulated; start one: "):
        async with backend.session("host", pipeline()):
            pass


async def test_a_gateway_that_falls_silent_ends_the_session(backend: Backend, start) -> None:
    await start("host", f"host,{SIMULATED}")
    async with backend.session("host", pipeline()) as live:
        await live.say(speech(length=0.5))
        await backend.until(lambda: any(agent.sessions for agent in backend.fleet.agents))
    await backend.until(lambda: not any(agent.sessions for agent in backend.fleet.agents))
    await backend.until(lambda: any(each.status == "lost" for each in backend.sessions()))


async def test_sigterm_lets_a_session_finish_and_refuses_the_next(backend: Backend, start) -> None:
    agent = await start("host", f"host,{SIMULATED}")
    async with backend.session("host", pipeline(llm="first_token_s: 0.5")) as live:
        await live.say(speech((0.5, 1.5), length=2.5))
        agent.terminate()
        await backend.until(lambda: all(here.draining for here in backend.fleet.agents))
        with pytest.raises(HostRefused, match="draining"):
            async with backend.session("host", pipeline()):
                pass
        await live.link.send(AudioEnd())
        done = read(await live.until(TurnDone))
        await live.until(SessionEnded)
        assert done.status == "completed"
    assert await agent.ended() == 0
    await backend.until(lambda: not backend.fleet.agents)


async def test_a_session_that_does_not_end_is_told_when_its_agent_must_go(backend: Backend, start) -> None:
    agent = await start("host", f"host,{SIMULATED}", "--drain-timeout", "0.3")
    async with backend.session("host", pipeline()) as live:
        agent.terminate()
        assert (await live.until(SessionEnded)).reason == "its agent stopped"
    assert await agent.ended() == 0
    assert await backend.until(lambda: [each for each in backend.sessions() if each.status == "lost"])
