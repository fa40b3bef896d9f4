"""Connections that come back to one session at the same time: one of them has it, and one host."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from openomni.events import AudioIn
from openomni.gateway.access import Access
from openomni.gateway.live_sessions import LeftSession
from openomni.gateway.services import Gateway
from openomni.version import __version__

from .conftest import World
from .test_coming_back import OURS, frame


class Connection:
    """One that held the session, or wants it: it parks it when another one comes."""

    def __init__(self, gateway: Gateway, live: Any = None) -> None:
        self.gateway, self.live = gateway, live
        self.session_id, self.settings, self.axis = "S", None, None
        self.access = Access("t", "default", ("device",))
        self.ended, self.replaced = asyncio.Event(), asyncio.Event()
        self.ending = asyncio.create_task(self.end())

    def belongs_to(self, access: Any) -> bool:
        return True

    async def check_opening(self) -> None: ...

    def replace(self) -> None:
        self.replaced.set()

    async def end(self) -> None:
        await self.replaced.wait()
        await asyncio.sleep(0)
        self.gateway.sessions.let_go(self)  # type: ignore[arg-type]
        self.gateway.sessions.park(self, self.live, None)  # type: ignore[arg-type]
        self.ended.set()

    async def come(self) -> LeftSession | None:
        left = await self.gateway.sessions.take_over(self)  # type: ignore[arg-type]
        self.live = left and left.live
        return left


class Live:
    hosted = True

    async def close(self) -> None:
        pass


async def test_of_two_that_come_at_once_the_later_one_takes_it_from_the_earlier(tmp_path: Path) -> None:
    gateway = Gateway("http://127.0.0.1:9", "s", [], None, tmp_path)  # type: ignore[arg-type]
    held = Connection(gateway, Live())
    gateway.sessions._held["S"] = held  # type: ignore[assignment]
    first, second = Connection(gateway), Connection(gateway)
    async with asyncio.timeout(5):
        found = await asyncio.gather(first.come(), second.come())
    assert [left is not None and left.live is held.live for left in found] == [True, True]
    assert (first.replaced.is_set(), gateway.sessions._held["S"]) == (True, second)
    second.ending.cancel()


async def test_clients_that_come_back_at_once_have_one_host(world: World) -> None:
    host = await world.host()
    client = await world.connect(**OURS)
    await client.hello(audio="binary", session_id="s1")
    hosted = await host.session()
    await client.send(frame(0, 1))
    await hosted.until(AudioIn)
    others = [await world.connect(**OURS) for _ in range(4)]
    await asyncio.gather(*(each.send({"type": "openomni.hello", "version": __version__, "session_id": "s1"})
                           for each in others))  # fmt: skip
    welcomes = await asyncio.gather(*(each.until("openomni.welcome") for each in others), return_exceptions=True)
    assert [each["resumed"] for each in welcomes if isinstance(each, dict)] != []
    assert all(each["resumed"] for each in welcomes if isinstance(each, dict))
    assert host.opened.empty(), "nobody else hosts it"


async def test_what_a_lost_host_gave_a_reply_to_is_not_told_to_the_next(world: World) -> None:
    first = await world.host("host1")
    client = await world.connect(**OURS)
    await client.hello(audio="binary", session_id="s1")
    hosted = await first.session()
    for position in range(0, 10_240, 320):
        await client.send(frame(position, 1))
    while (await hosted.until(AudioIn)).position < 10_240 - 320:
        pass
    await hosted.answer("a1" * 16, end=False)  # to what was said up to sample 9600
    while not isinstance(await client.next(), bytes):
        pass  # until some of the reply was passed on
    second = await world.host("host2")
    await first.vanish()
    following = await second.session()
    assert (await following.until(AudioIn)).position == 9_600
