"""Who is there, who offers what, and who is gone."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from openomni.background import troubles
from openomni.bus import subjects
from openomni.bus.connection import Bus
from openomni.bus.fleet import Announcer, Fleet, Presence
from openomni.errors import OpenOmniError
from openomni.version import __version__

from .conftest import Deployment, eventually, restart


def presence(agent_id: str, **fields: object) -> Presence:
    return Presence(agent_id=agent_id, name=agent_id, project="default", **fields)  # type: ignore[arg-type]


@pytest.fixture
async def fleet(gateway: Bus) -> Fleet:
    return Fleet(gateway, "default", alive=0.6)


async def test_an_agent_is_found_by_what_it_offers(deployment: Deployment, fleet: Fleet) -> None:
    a = presence("a1", components=["stt:whisper", "tts:piper"], roles=["host"], slots=2)
    b = presence("a2", components=["stt:whisper"], slots=4, busy=1)
    async with (
        Announcer(await deployment.agent("a1"), lambda: a),
        Announcer(await deployment.agent("a2"), lambda: b),
        fleet,
    ):
        await fleet.ready()
        assert [found.agent_id for found in fleet.find("stt", "whisper")] == ["a2", "a1"]
        assert [found.agent_id for found in fleet.find("tts")] == ["a1"]
        assert fleet.find("llm") == []
        assert [found.agent_id for found in fleet.hosts()] == ["a1"]


async def test_a_change_is_seen_at_once_and_a_draining_agent_takes_nothing(
    deployment: Deployment, fleet: Fleet
) -> None:
    me = presence("a1", components=["stt:x"])
    async with Announcer(await deployment.agent("a1"), lambda: me, every=60) as announcer, fleet:
        await fleet.ready()
        me.draining = True
        waiting = asyncio.create_task(fleet.changed())
        await asyncio.sleep(0)
        announcer.changed()
        async with asyncio.timeout(5):
            await waiting
        assert fleet.find("stt") == []
        assert [agent.draining for agent in fleet.agents] == [True]


async def test_goodbye_takes_effect_at_once(deployment: Deployment, gateway: Bus) -> None:
    async with Fleet(gateway, "default", alive=3600) as fleet:
        async with Announcer(await deployment.agent("a1"), lambda: presence("a1")):
            await fleet.ready()
            assert fleet.get("a1")
        async with asyncio.timeout(5):
            await fleet.changed()
        assert fleet.get("a1") is None


async def test_an_agent_that_falls_silent_is_gone(deployment: Deployment, fleet: Fleet) -> None:
    agent = await deployment.agent("a1")
    async with Announcer(agent, lambda: presence("a1"), every=0.1), fleet:
        await fleet.ready()
        assert fleet.get("a1")
        await agent._client.close()
        await eventually(lambda: fleet.get("a1") is None)


async def test_a_restarted_bus_loses_nobody(deployment: Deployment, gateway: Bus, fleet: Fleet) -> None:
    seen: list[int] = []
    async with Announcer(await deployment.agent("a1"), lambda: presence("a1"), every=0.1), fleet:
        await fleet.ready()
        watching = asyncio.create_task(_count(fleet, seen))
        await restart(deployment.server)
        await eventually(lambda: gateway.reconnects == 1)
        await asyncio.sleep(0.3)
        assert fleet.get("a1")
        watching.cancel()
    assert 0 not in seen


async def _count(fleet: Fleet, seen: list[int]) -> None:
    while True:
        await fleet.changed()
        seen.append(len(fleet.agents))


async def test_who_lies_about_itself_is_not_believed(deployment: Deployment, gateway: Bus, fleet: Fleet) -> None:
    agent = await deployment.agent("a1")
    async with fleet:
        await gateway.flush()
        await agent.publish("oo.default.fleet.here.a1", msgspec.msgpack.encode(presence("a2", components=["llm:x"])))
        await agent.publish("oo.default.fleet.here.a1", b"garbage")
        await agent.publish("oo.default.fleet.here.a1", msgspec.msgpack.encode(presence("a1")))
        await eventually(lambda: bool(fleet.agents))
        assert [found.agent_id for found in fleet.agents] == ["a1"]


async def test_an_agent_goes_on_saying_that_it_is_there_after_it_could_not(
    deployment: Deployment, fleet: Fleet
) -> None:
    fails = False

    def me() -> Presence:
        if fails:
            raise OpenOmniError("the outgoing buffer is full")
        return presence("a1")

    async with Announcer(await deployment.agent("a1"), me, every=0.05), fleet:
        await eventually(lambda: fleet.get("a1") is not None)
        fails = True
        await eventually(lambda: "saying that this agent is there" in troubles())
        await eventually(lambda: fleet.get("a1") is None)
        fails = False
        await eventually(lambda: fleet.get("a1") is not None)


async def test_an_agent_that_is_too_old_gets_no_work_and_is_named_once(
    deployment: Deployment, fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    agent = await deployment.agent("a1")
    async with fleet, Announcer(await deployment.agent("a2"), lambda: presence("a2")):
        for _ in range(2):
            old = msgspec.msgpack.encode(presence("a1", version="0.1.0"))
            await agent.publish(subjects.here("default", "a1"), old)
        await agent.publish(subjects.here("default", "a1"), msgspec.msgpack.encode(presence("a1", version=__version__)))
        await eventually(lambda: len(fleet.agents) == 2)
    assert caplog.text.count("agent a1 is openomni 0.1.0 and too old for this side") == 1
