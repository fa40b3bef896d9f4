"""Real-time cells: played by callers through a real gateway, alone on their machines, people first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.backend import agents, pipeline, speech, workers
from agent.calling import CallBackend, calling
from openomni.agent import measuring
from openomni.bus import streams
from openomni.bus.envelope import CallWork, call_session
from openomni.bus.leases import Leases
from openomni.bus.work import enqueue
from openomni.datasets import AfterReply
from openomni.pipeline.spec import Pipeline

SIMULATED = "stt:simulated,llm:simulated,tts:simulated"


def quick() -> Pipeline:
    """Answers in one clause of a third of a second."""
    return pipeline(llm="text: Yes.", tts="seconds: 0.3")


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[CallBackend]:
    async with calling(tmp_path) as made:
        yield made


@pytest.fixture
async def employ(backend: CallBackend) -> AsyncIterator[Callable[..., Any]]:
    async with workers(backend) as employing:
        yield employing


async def talking(backend: CallBackend) -> None:
    """Returns once a cell is being played."""
    await backend.until(lambda: any(agent.cells for agent in backend.fleet.agents))


async def test_a_cell_is_played_as_a_person_would_and_recorded(backend: CallBackend, employ) -> None:
    await employ("one", f"host,caller,{SIMULATED}")
    work = backend.call(quick())
    await enqueue(backend.bus, work)

    (cell,) = await backend.until(backend.cells)
    assert (cell.cell, cell.experiment, cell.status, cell.caller) == (work.work_id, "e1", "done", "one"), cell.reason
    assert [(each.index, each.answered, each.cut, each.on_rule) for each in cell.turns] == [(0, True, False, True)]
    assert cell.frames_lost == 0
    turns = await backend.until(lambda: backend.turns("completed"))
    assert {turn.cell for turn in turns.values()} == {work.work_id}
    assert {turn.origin for turn in turns.values()} == {"experiment"}
    assert {turn.session_id for turn in turns.values()} == {cell.session_id} == {CallWork.of(work).session_id}
    for each in cell.turns:
        turn = turns[each.turn_id]
        assert each.voice_to_voice_s is not None
        # The pipeline's own VAD sees the end of the speech in its own windows.
        assert turn.voice_to_voice_s == pytest.approx(each.voice_to_voice_s, abs=0.15)
    state = await backend.bus.jetstream.stream_info("WORK")
    await backend.until(lambda: not any(agent.cells or agent.leases for agent in backend.fleet.agents))
    assert state.state.messages == 0


@pytest.mark.long
async def test_two_callers_never_measure_at_once_on_the_same_machine(backend: CallBackend, employ) -> None:
    await employ("one", f"host,caller,{SIMULATED}")
    await employ("two", f"caller,{SIMULATED}")
    for _ in range(4):
        await enqueue(backend.bus, backend.call(quick()))

    most = 0

    def done() -> Any:
        nonlocal most
        most = max(most, sum(len(agent.cells) for agent in backend.fleet.agents))
        return len(backend.cells("done")) == 4 and backend.cells()

    cells = sorted(await backend.until(done, 90), key=lambda cell: cell.started_at)
    assert {cell.caller for cell in cells} == {"one", "two"}
    assert most == 1
    assert all(before.ended_at <= after.started_at for before, after in pairwise(cells))


@pytest.mark.long
async def test_a_killed_callers_cell_is_played_again_once_by_another(
    backend: CallBackend, employ, tmp_path: Path
) -> None:
    await employ("host", f"host,{SIMULATED}")
    async with agents(tmp_path, backend.url) as start:
        dying = await start("dying", "caller")
        work = backend.call(quick(), AfterReply(), AfterReply(1.0), AfterReply(1.0))
        await enqueue(backend.bus, work)
        await talking(backend)
        dying.kill()
        await employ("other", "caller")
        (cell,) = await backend.until(backend.cells, 60)
    assert (cell.status, cell.caller) == ("done", "other")
    assert cell.session_id == call_session(CallWork.of(work).session_id, 2)
    await asyncio.sleep(5.0)
    assert len(backend.cells()) == 1


@pytest.mark.long
async def test_a_person_in_between_disturbs_the_cell_and_it_gives_way_at_once(backend: CallBackend, employ) -> None:
    await employ("one", f"host,caller,{SIMULATED}")
    work = backend.call(quick(), *[AfterReply(5.0)] * 3)
    await enqueue(backend.bus, work)
    await talking(backend)
    async with backend.session("one", quick()):
        (cell,) = await backend.until(backend.cells)
        assert (cell.status, cell.reason) == ("disturbed", "somebody talked to one meanwhile")
        assert cell.turns == []
        # It said goodbye to the gateway, which would wait for it for longer.
        await backend.until(lambda: not any(agent.cells for agent in backend.fleet.agents), 10)
        # Put into the queue again, it waits for the person to go.
        await enqueue(backend.bus, CallWork.of(work).work("default", work.spec_hash, group="e1").again(0.0))
        await asyncio.sleep(1.5)
        assert not any(agent.cells or agent.leases for agent in backend.fleet.agents)
    await talking(backend)


async def test_who_talks_on_another_machine_disturbs_nobody(backend: CallBackend, employ, monkeypatch) -> None:
    await employ("one", f"host,caller,{SIMULATED}")
    monkeypatch.setattr("openomni.agent.machine.identity", lambda: "elsewhere")
    await employ("other", "emotion:simulated")
    other = next(agent for agent in backend.fleet.agents if agent.name == "other")
    assert other.machine == "elsewhere"
    assert measuring.machines_of(backend.fleet.agents, quick()) == {
        agent.machine for agent in backend.fleet.agents if agent.name == "one"
    }


@pytest.mark.long
async def test_a_cancelled_cell_ends_at_once_and_leaves_nothing(backend: CallBackend, employ) -> None:
    await employ("one", f"host,caller,{SIMULATED}")
    await enqueue(backend.bus, backend.call(quick(), *[AfterReply(5.0)] * 3))
    await enqueue(backend.bus, backend.call(quick()))
    other = backend.call(quick(), experiment="e2")
    await enqueue(backend.bus, other)
    await talking(backend)
    await streams.cancel(backend.bus, "default", "e1")
    (cell,) = await backend.until(backend.cells)
    assert (cell.cell, cell.status) == (other.work_id, "done")
    leases = Leases(backend.bus, "default")
    machines = [agent.machine for agent in backend.fleet.agents]
    await backend.until(lambda: not any(agent.leases for agent in backend.fleet.agents))
    assert await leases.holders(machines) == {}
    assert (await backend.bus.jetstream.stream_info("WORK")).state.messages == 0


@pytest.mark.long
async def test_queued_turns_wait_while_their_machine_is_measured_on(backend: CallBackend, employ) -> None:
    await employ("one", f"host,caller,{SIMULATED}")
    await enqueue(backend.bus, backend.call(quick()))
    await talking(backend)
    turn = backend.turn(quick(), backend.record(speech((0.1, 0.6), length=0.8)))
    await enqueue(backend.bus, turn)
    await backend.until(lambda: backend.turns("completed").get(turn.work_id))
    (cell,) = await backend.until(backend.cells)
    assert cell.status == "done"
    assert backend.turns()[turn.work_id].started_at >= cell.ended_at - 0.5


async def test_a_cell_that_nobody_can_run_fails_with_the_mend(backend: CallBackend, employ, monkeypatch) -> None:
    monkeypatch.setattr(measuring, "SERVED_S", 0.2)
    await employ("one", "host,caller,stt:simulated,llm:simulated")
    await enqueue(backend.bus, backend.call(quick()))
    (cell,) = await backend.until(backend.cells)
    assert (cell.status, cell.unserved) == ("failed", True)
    assert "no agent offers tts:simulated" in cell.reason
    assert "openomni agent --offer tts:simulated" in cell.reason


async def test_a_recording_without_speech_fails_its_cell_by_name(backend: CallBackend, employ) -> None:
    await employ("one", f"host,caller,{SIMULATED}")
    work = backend.call(quick())
    body = work.body["utterances"][0]
    body["speech"] = [0.3, 0.3]
    await enqueue(backend.bus, work)
    (cell,) = await backend.until(backend.cells)
    assert cell.status == "failed"
    assert body["recording"] in cell.reason
