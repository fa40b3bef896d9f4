from __future__ import annotations

import asyncio

import pytest

from openomni.agent.health import SESSIONS_PER_SLOT, AgentHealth, Busy


def test_a_slot_is_for_one_call_or_one_queued_turn() -> None:
    health = AgentHealth(slots=2, turns=2)
    with health.hold("call"), health.hold("turn"):
        assert health.busy == 2
        with pytest.raises(Busy, match="all 2 slots are busy"), health.hold("call"):
            pass
    assert health.busy == 0


def test_queued_turns_leave_room_for_live_work() -> None:
    health = AgentHealth(slots=4, turns=2)
    with health.hold("turn"):
        assert health.room("turn")
        with health.hold("session"):
            assert not health.room("turn")
            assert health.room("call")


def test_sessions_are_bounded_by_slots() -> None:
    health = AgentHealth(slots=1)
    held = [health.hold("session") for _ in range(SESSIONS_PER_SLOT)]
    for each in held:
        each.__enter__()
    with pytest.raises(Busy, match="hosts 8 sessions already"), health.hold("session"):
        pass


def test_a_call_that_never_returned_keeps_its_slot_and_is_told() -> None:
    health = AgentHealth(slots=1)
    health.stuck = lambda: 1
    assert health.busy == 1
    assert not health.room("call")
    assert health.summary == "1 component call never returned"


def test_nothing_starts_while_draining() -> None:
    health = AgentHealth(slots=1)
    health.drain()
    for job in ("call", "turn", "session"):
        with pytest.raises(Busy, match="draining"), health.hold(job):
            pass


async def test_room_and_quiet_can_be_waited_for() -> None:
    health = AgentHealth(slots=1)
    with health.hold("call"):
        waiting = asyncio.gather(health.until_room("call"), health.until_idle())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
