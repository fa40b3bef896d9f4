"""The bus for code that is not asynchronous: one connection, held by a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ...bus.connection import Bus
from ...errors import OpenOmniError
from .loop_thread import LoopThread

T = TypeVar("T")
Connect = Callable[[], Awaitable[Bus]]


class BusAway(OpenOmniError):
    """The bus does not answer; nothing was done that a repeated request would not do again."""


class BusLine:
    """`run` a coroutine on the bus from any thread, between `start` and `stop`."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._bus: concurrent.futures.Future[Bus] = concurrent.futures.Future()
        self._thread = LoopThread("bus line", self._hold)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    def run(self, work: Callable[[Bus], Coroutine[Any, Any, T]], timeout: float = 5.0) -> T:
        """What `work(bus)` gives. Raises BusAway when that takes longer than `timeout` seconds."""
        loop = self._thread.loop
        if loop.is_closed():
            raise BusAway("the server is stopping; try again when it is back")
        future = asyncio.run_coroutine_threadsafe(self._within(work, timeout), loop)
        try:
            # The coroutine keeps the time itself; this is for a loop that closes under it.
            return future.result(timeout + 1.0)
        except (TimeoutError, concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            raise BusAway("the bus does not answer just now; try again") from None

    @property
    def connected(self) -> bool:
        """Whether the bus answers at this moment; does not wait."""
        return self._bus.done() and self._bus.exception() is None and self._bus.result().connected.is_set()

    async def _within(self, work: Callable[[Bus], Coroutine[Any, Any, T]], timeout: float) -> T:
        async with asyncio.timeout(timeout):
            bus = await asyncio.shield(asyncio.wrap_future(self._bus))
            return await work(bus)

    async def _hold(self) -> None:
        bus = await self._connect()
        self._bus.set_result(bus)
        try:
            await asyncio.Event().wait()
        finally:
            await bus.close()


_line: BusLine | None = None


def start(connect: Connect) -> Callable[[], None]:
    """Opens the process's line; gives what closes it."""
    global _line
    line = _line = BusLine(connect)
    line.start()

    def stop() -> None:
        global _line
        if _line is line:
            _line = None
        line.stop()

    return stop


def run(work: Callable[[Bus], Coroutine[Any, Any, T]], timeout: float = 5.0) -> T:
    """`work(bus)` on the process's line; `timeout` in seconds. Raises BusAway."""
    if _line is None:
        raise BusAway("this server runs without a bus; start it with openomni up, or give it OPENOMNI_BUS_URL")
    return _line.run(work, timeout)


def connected() -> bool:
    """Whether the process's line is on the bus at this moment; does not wait."""
    return _line is not None and _line.connected
