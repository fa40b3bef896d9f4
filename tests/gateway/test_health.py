"""What goes wrong in the gateway itself is seen, and mended where it can be."""

from __future__ import annotations

import asyncio
from pathlib import Path

from openomni.bus.connection import Bus
from openomni.gateway.services import Gateway

TROUBLE = "holding the gateway's connection to the bus"


async def test_a_bus_that_could_not_be_joined_is_told_and_tried_again(tmp_path: Path) -> None:
    again = asyncio.Event()
    tries = 0

    async def connect() -> Bus:
        nonlocal tries
        tries += 1
        if tries > 1:
            again.set()
            await asyncio.Event().wait()
        raise RuntimeError("whatever goes wrong at the start")

    async with Gateway("http://127.0.0.1:9", "s", ["nats://127.0.0.1:1"], connect, tmp_path) as gateway:
        while TROUBLE not in await gateway.health():
            await asyncio.sleep(0)
        health = await gateway.health()
        assert (health[TROUBLE], health["bus"]) == ("whatever goes wrong at the start", "away")
        async with asyncio.timeout(10):
            await again.wait()
        assert gateway._running is not None
        assert not gateway._running.done
    assert gateway._running.done, "nothing holds on to the bus when the gateway has ended"
