"""A real nats-server for tests that are not asynchronous, and the API's own line to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openomni.api.ground import bus_line
from openomni.api.ground.loop_thread import LoopThread
from openomni.api.queue import dead_letters, outbox
from openomni.api.records import recorder
from openomni.bus import streams
from openomni.bus.connection import Bus, connect
from openomni.bus.credentials import Authority, Credentials, Keys
from openomni.bus.server import EmbeddedServer

Connect = Callable[[], Awaitable[Bus]]


@pytest.fixture
def connecting(tmp_path: Path) -> Iterator[Connect]:
    """Connects to a server of this test's own, as the API does."""
    authority, ready = Authority.create(), threading.Event()
    server = EmbeddedServer(tmp_path / "bus", authority)

    async def serve() -> None:
        async with server:
            ready.set()
            await asyncio.Event().wait()

    async def open_bus() -> Bus:
        keys = Keys.create()

        async def renew() -> Credentials:
            return authority.issue("server", keys.public, 3600.0, name="api")

        return await connect(server.url, renew, keys, "api", timeout=10)

    thread = LoopThread("nats", serve)
    thread.start()
    assert ready.wait(10)
    yield open_bus
    thread.stop()


@pytest.fixture
def line(connecting: Connect) -> Iterator[Callable[..., Any]]:
    """`line(work)` runs `await work(bus)` on the API's connection."""
    stop = bus_line.start(connecting)
    bus_line.run(streams.declare)
    yield bus_line.run
    stop()


@pytest.fixture
def recording(connecting: Connect, line: Callable[..., Any], transactional_db: None) -> Iterator[None]:
    """The recorder writes meanwhile."""
    stop = recorder.start(connecting, dead_letters.watch, outbox.watch)
    yield
    stop()
