"""Wakes what looks after the queue when there is something to do, rather than at its next look."""

from __future__ import annotations

import asyncio

from django.db import transaction


class Wake:
    """`call` from any thread; who waits on a loop goes on at once."""

    def __init__(self) -> None:
        self._called: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def on_commit(self) -> None:
        """Once what this transaction writes can be read."""
        transaction.on_commit(self.call)

    def call(self) -> None:
        loop, called = self._loop, self._called
        if loop is not None and called is not None and not loop.is_closed():
            loop.call_soon_threadsafe(called.set)

    async def wait(self, seconds: float) -> None:
        """Until somebody calls, and no longer than so many seconds. One waits at a time."""
        if self._loop is not asyncio.get_running_loop() or self._called is None:
            self._loop, self._called = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._called.wait()
        except TimeoutError:
            pass
        self._called.clear()


released = Wake()
"""Work that need not wait any more."""
