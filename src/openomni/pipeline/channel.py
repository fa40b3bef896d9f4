"""What flows between the stages of one turn: a value that several readers can follow while it is still being made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from .. import clock
from ..events import Value
from .task import TaskTrace


@dataclass(slots=True)
class Arrival:
    """A value, when it was here, and the task that made it (None: the person)."""

    value: Value
    at: float
    by: TaskTrace | None


@dataclass(slots=True)
class Flow:
    """One channel of a turn. Readers see every value from the first on; it ends when its maker closes it."""

    arrivals: list[Arrival] = field(default_factory=list)
    closed: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, value: Value, by: TaskTrace | None = None) -> Arrival:
        arrival = Arrival(value, clock.now(), by)
        self.arrivals.append(arrival)
        self._wake()
        return arrival

    def close(self) -> None:
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        # Each reader waits on the event of its moment, so that none misses a value or wakes for another's.
        self._news.set()
        self._news = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Arrival]:
        index = 0
        while True:
            while index < len(self.arrivals):
                yield self.arrivals[index]
                index += 1
            if self.closed:
                return
            await self._news.wait()

    async def last(self) -> Arrival | None:
        """The newest value once the channel is closed; None when there was none."""
        newest = None
        async for arrival in self:
            newest = arrival
        return newest
