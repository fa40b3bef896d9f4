"""The offset to the gateway's clock."""

from __future__ import annotations

import asyncio

import msgspec
from nats.aio.msg import Msg

from openomni import clock
from openomni.bus import subjects
from openomni.bus.clocksync import ClockSync, serve_clock
from openomni.bus.connection import Bus

from .conftest import Deployment


async def test_on_one_machine_there_is_none_beyond_the_uncertainty(deployment: Deployment, gateway: Bus) -> None:
    await serve_clock(gateway)
    await gateway.flush()
    async with asyncio.timeout(10), ClockSync(await deployment.agent("a1")) as sync:
        offset = await sync.ready()
    assert abs(offset.seconds) <= offset.uncertainty < 0.05


async def test_another_machine_s_clock_is_found(deployment: Deployment, gateway: Bus) -> None:
    async def answer(question: Msg) -> None:
        ahead = clock.now() + 1000.0
        await gateway.respond(question, msgspec.msgpack.encode((ahead, clock.now() + 1000.0)))

    await gateway.subscribe(subjects.CLOCK, answer)
    await gateway.flush()
    async with asyncio.timeout(10), ClockSync(await deployment.agent("a1")) as sync:
        offset = await sync.ready()
    assert abs(offset.seconds - 1000.0) <= offset.uncertainty < 0.05


async def test_it_waits_for_a_gateway_that_comes_later(deployment: Deployment, gateway: Bus) -> None:
    async with asyncio.timeout(10), ClockSync(await deployment.agent("a1"), every=0.1) as sync:
        assert sync.offset is None
        await serve_clock(gateway)
        await sync.ready()
