"""A real nats-server per test, and connections to it as the API makes them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from openomni.bus.connection import Bus, connect
from openomni.bus.credentials import Authority, Credentials, Keys
from openomni.bus.server import EmbeddedServer
from openomni.bus.streams import declare


@dataclass
class Deployment:
    """One server, its authority, and whoever connects."""

    server: EmbeddedServer
    authority: Authority
    stack: AsyncExitStack
    issued: list[Credentials] = field(default_factory=list)

    def renew(self, keys: Keys, ttl: float, **user: str) -> Callable[[], Awaitable[Credentials]]:
        async def issue() -> Credentials:
            role = "agent" if "agent_id" in user else "server"
            self.issued.append(self.authority.issue(role, keys.public, ttl, **user))
            return self.issued[-1]

        return issue

    async def connect(self, name: str, ttl: float = 3600.0, urls: str = "", **user: str) -> Bus:
        keys = Keys.create()
        bus = await connect(
            urls or self.server.url, self.renew(keys, ttl, **user), keys, name, timeout=10, retry_every=0.05
        )
        self.stack.push_async_callback(bus.close)
        return bus

    async def gateway(self) -> Bus:
        return await self.connect("gateway")

    async def agent(self, agent_id: str, project: str = "default", ttl: float = 3600.0) -> Bus:
        return await self.connect(agent_id, ttl, project=project, agent_id=agent_id)


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    authority = Authority.create()
    async with AsyncExitStack() as stack, EmbeddedServer(tmp_path, authority) as server:
        made = Deployment(server, authority, stack)
        yield made
        await stack.aclose()


@pytest.fixture
async def gateway(deployment: Deployment) -> Bus:
    bus = await deployment.gateway()
    await declare(bus)
    return bus


async def restart(server: EmbeddedServer) -> None:
    """Kills the server the hard way and returns when its supervisor has it up again."""
    before = server.restarts
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while server.restarts == before or not await answers(server.port):
            await asyncio.sleep(0.02)


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def eventually(holds: Callable[[], bool], timeout: float = 10.0) -> None:
    async with asyncio.timeout(timeout):
        while not holds():
            await asyncio.sleep(0.01)
