"""A machine is leased by one at a time; a lease ends with its holder, however that ends."""

from __future__ import annotations

import asyncio

import pytest

from openomni.bus import subjects
from openomni.bus.connection import Bus, SubjectDenied
from openomni.bus.leases import Leases
from openomni.bus.streams import declare

from .conftest import Deployment

SHORT = 1.5


@pytest.fixture
async def api(deployment: Deployment, gateway: Bus, monkeypatch: pytest.MonkeyPatch) -> Bus:
    """With leases that expire quickly."""
    monkeypatch.setattr("openomni.bus.leases.BEAT_S", SHORT / 4)
    monkeypatch.setattr("openomni.bus.leases.LEASE_S", SHORT)
    await declare(gateway, lease_s=SHORT)
    return gateway


async def test_two_never_hold_a_machine_at_once_and_longer_than_a_lease_lasts(deployment: Deployment, api: Bus) -> None:
    holding: list[str] = []
    most = 0

    async def measure(name: str, *machines: str) -> None:
        nonlocal most
        leases = Leases(await deployment.agent(name), "default")
        async with leases.hold(machines, name) as held:
            holding.append(name)
            most = max(most, len(holding))
            await asyncio.sleep(SHORT * 1.5)
            assert not held.lost.is_set()
            assert set(await leases.holders(machines)) == set(machines)
            assert set((await leases.holders(machines)).values()) == {name}
            holding.remove(name)

    async with asyncio.timeout(20):
        await asyncio.gather(measure("one", "a", "b"), measure("two", "b", "a"))
    assert most == 1


async def test_what_a_dead_holder_held_is_free_a_little_later_and_what_a_live_one_gave_back_at_once(
    deployment: Deployment, api: Bus
) -> None:
    dying, other = await deployment.agent("dying"), Leases(await deployment.agent("other"), "default")
    entered = asyncio.Event()

    async def hold() -> None:
        async with Leases(dying, "default").hold(["a"], "dying"):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await entered.wait()
    await dying.close()  # nobody hears of it again
    async with asyncio.timeout(SHORT * 4), other.hold(["a"], "other"):
        pass
    assert await other.holders(["a"]) == {}
    async with asyncio.timeout(SHORT / 2), other.hold(["a"], "other"):
        pass
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_holder_is_told_when_another_one_has_its_machine(deployment: Deployment, api: Bus) -> None:
    leases = Leases(await deployment.agent("one"), "default")
    async with asyncio.timeout(20), leases.hold(["a"], "one") as held:
        await api.store(subjects.lease_subject("default", "a"), b"another")
        await held.lost.wait()


async def test_an_agent_leases_and_sees_no_machine_of_another_project(deployment: Deployment, api: Bus) -> None:
    agent = await deployment.agent("one")
    theirs = subjects.lease_subject("other", "a")
    for subject in (theirs, f"$JS.API.DIRECT.GET.{subjects.LEASE_STREAM}.{theirs}",
                    f"$JS.API.DIRECT.GET.{subjects.LEASE_STREAM}", f"$JS.API.STREAM.INFO.{subjects.LEASE_STREAM}",
                    f"$JS.API.STREAM.PURGE.{subjects.LEASE_STREAM}"):  # fmt: skip
        with pytest.raises(SubjectDenied):
            await agent.request(subject, b"{}", timeout=5)
