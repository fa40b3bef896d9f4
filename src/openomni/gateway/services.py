"""What the doors of the gateway share: the way to the API, to the bus and to the disk, and the sessions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..background import Background, troubles
from ..bus.clocksync import serve_clock
from ..bus.connection import Bus, BusError
from ..bus.fleet import Fleet
from ..bus.records import RecordWriter
from .access import AccessApi, AccessDenied
from .bus_tunnel import Tunnel
from .live_sessions import LiveSessions
from .placing import HostPlacing
from .proxy import Proxy
from .recorder import InputRecorder
from .session_journal import SessionJournal
from .spoken_turns import SpokenTurns

MAX_CONNECTIONS = 256
"""Of one token, at a time."""

T = TypeVar("T")


class Gateway:
    """What the doors share. `async with Gateway(…)` serves at once; the bus may come later."""

    def __init__(
        self, api_url: str, secret: str, bus_urls: Sequence[str], connect: Callable[[], Awaitable[Bus]], spool: Path
    ) -> None:
        self.api = AccessApi(api_url, secret)
        self.proxy = Proxy(api_url, self.api.check_caller)
        self.tunnel = Tunnel(bus_urls)
        self.closing = asyncio.Event()
        """Set when the gateway stops; every session then ends, with a reason."""
        self.sessions = LiveSessions()
        self.spoken = SpokenTurns()
        self.connections: dict[asyncio.Task[Any], str] = {}
        """Open WebSockets, and whose token each has."""
        self._api_url, self._secret, self._connect, self._spool = api_url, secret, connect, spool
        self._bus: Bus | None = None
        self._placing: HostPlacing | None = None
        self._records: RecordWriter | None = None
        self._recorder: InputRecorder | None = None
        self._journal: SessionJournal | None = None
        self._running: Background | None = None

    async def __aenter__(self) -> Gateway:
        self._running = Background(self._run, "holding the gateway's connection to the bus")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.closing.set()
        await self.sessions.end()
        if self._running:
            await self._running.stop()
        await self.proxy.close()
        await self.api.close()

    async def _run(self) -> None:
        """Holds the connection to the bus and what lives on it."""
        bus = await self._connect()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(bus.close)
            clock = await serve_clock(bus)
            stack.push_async_callback(clock.aclose)
            fleet = await stack.enter_async_context(Fleet(bus))
            records = await stack.enter_async_context(RecordWriter(bus, self._spool / "records"))
            journal = await stack.enter_async_context(
                SessionJournal(
                    self._spool / "sessions", self._spool / "recordings", records.write, self.sessions.goes_on
                )
            )
            recorder = await stack.enter_async_context(
                InputRecorder(self._spool / "recordings", self._api_url, self._secret, records.write)
            )
            stack.callback(self._forget_bus)
            self._bus, self._placing, self._records, self._recorder = bus, HostPlacing(bus, fleet), records, recorder
            self._journal = journal
            await asyncio.Event().wait()

    def _forget_bus(self) -> None:
        self._bus = self._placing = self._records = self._recorder = self._journal = None

    @property
    def bus(self) -> Bus:
        return _there(self._bus)

    @property
    def placing(self) -> HostPlacing:
        return _there(self._placing)

    @property
    def records(self) -> RecordWriter:
        return _there(self._records)

    @property
    def recorder(self) -> InputRecorder:
        return _there(self._recorder)

    @property
    def journal(self) -> SessionJournal:
        return _there(self._journal)

    @contextlib.contextmanager
    def connection(self, token_id: str) -> Iterator[None]:
        """Holds the stop of the gateway back until this connection has been told of it. Raises `AccessDenied` (429) for
        one too many of a token."""
        task = asyncio.current_task()
        assert task is not None
        if sum(each == token_id for each in self.connections.values()) >= MAX_CONNECTIONS:
            raise AccessDenied(
                429, f"this token has {MAX_CONNECTIONS} connections already; close some, or use another token for more"
            )
        self.connections[task] = token_id
        try:
            yield
        finally:
            del self.connections[task]

    async def health(self) -> dict[str, str]:
        bus = self._bus is not None and self._bus.connected.is_set()
        api = await self.api.alive()
        parts = {"gateway": "ok", "bus": "ok" if bus else "away", "api": "ok" if api else "away"}
        return troubles() | parts


def _there(part: T | None) -> T:
    if part is None:
        raise BusError("the bus is not answering; try again in a moment")
    return part
