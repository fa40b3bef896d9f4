"""Clients that flood, never read, or say nothing: they are paced or sent away, and other sessions feel nothing."""

from __future__ import annotations

import asyncio
import struct
import uuid
from typing import Any

import pytest

from openomni.events import AXIS_RATE, AudioIn, ReplySound, SessionClose
from openomni.gateway import connection


def frame(position: int, samples: int) -> bytes:
    return struct.pack("<Qd", position, 0.0) + bytes(2 * samples)


async def session(world: Any, host: Any, **hello: Any) -> tuple[Any, Any]:
    """A client that opted in, and its session at the host."""
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", recording_id=uuid.uuid4().hex, **hello)
    return client, await host.session()


async def is_well(client: Any, hosted: Any) -> None:
    """What it says arrives, and it is answered."""
    await client.send(frame(hosted.inputs.qsize(), 320))
    await hosted.until(AudioIn)
    await hosted.answer(uuid.uuid4().hex)
    await client.until("openomni.turn.done")


async def test_a_flood_of_sound_is_paced_and_others_are_heard_meanwhile(world: Any) -> None:
    host = await world.host()
    flooding, flooded = await session(world, host)
    other, heard = await session(world, host)
    second = AXIS_RATE

    async def flood() -> None:
        for number in range(120):
            await flooding.send(frame(number * second, second))

    sending = asyncio.create_task(flood())
    try:
        for _ in range(5):
            await is_well(other, heard)
            taken = sum(isinstance(event, AudioIn) for event in list(flooded.inputs._queue))  # type: ignore[attr-defined]
            assert taken < 120, "two minutes of sound were taken at once"
        # Nothing of it is lost: it goes on at its own pace.
        before = (await flooded.until(AudioIn)).position
        assert (await flooded.until(AudioIn)).position > before
    finally:
        sending.cancel()


async def test_a_client_that_never_reads_is_sent_away_and_others_are_answered(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SLOW_CLIENT", 0.5)
    host = await world.host()
    deaf, spoken_to = await session(world, host)
    other, heard = await session(world, host)
    deaf.socket.transport.pause_reading()
    turn_id, second = uuid.uuid4().hex, 24_000

    async def talk() -> None:
        for number in range(2000):
            await spoken_to.emit(ReplySound(turn_id, second, number * second, 0.0, bytes(2 * second)))

    talking = asyncio.create_task(talk())
    try:
        await is_well(other, heard)
        async with asyncio.timeout(15):
            await spoken_to.until(SessionClose)
        await is_well(other, heard)
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def test_a_frame_far_ahead_is_refused_and_the_session_goes_on(world: Any) -> None:
    host = await world.host()
    client, hosted = await session(world, host)
    await client.send(frame(0, 320))
    await client.send(frame(1200 * AXIS_RATE, 320))
    error = (await client.until("error"))["error"]
    assert (error["code"], error["param"]) == ("invalid_value", "position")
    await client.send({"type": "openomni.frame", "position": 1200 * AXIS_RATE, "jpeg": ""})
    assert (await client.until("error"))["error"]["param"] == "position"
    await client.send(frame(640, 320))
    assert [(await hosted.until(AudioIn)).position for _ in range(2)] == [0, 640]


async def test_a_client_that_says_nothing_costs_nobody_anything_and_may_still_begin(world: Any) -> None:
    host = await world.host()
    silent, waiting = await session(world, host)
    other, heard = await session(world, host)
    await is_well(other, heard)
    assert waiting.inputs.empty()
    await is_well(silent, waiting)
