"""Several lanes of a project's queue as one: an agent that has room takes from whichever has work."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from typing import Self

from .claim import Claim
from .connection import Bus
from .envelope import Lane
from .work import WorkQueue


class Lanes:
    """The first lane named is asked first: where several have work, that of a later one is at most one ahead of it. An
    async context manager."""

    def __init__(self, bus: Bus, project: str, *lanes: Lane) -> None:
        self._queues = [WorkQueue(bus, project, lane) for lane in lanes]
        self._held: deque[Claim] = deque()
        """What came from a second lane before that was asked for nothing more."""
        self._withdrawing: asyncio.Task[None] | None = None
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for queue in self._queues:
            await self._exits.enter_async_context(queue)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._withdrawing:
            await asyncio.gather(self._withdrawing, return_exceptions=True)
        while self._held:
            await self._held.popleft().release()
        await self._exits.aclose()

    async def claim(self) -> Claim:
        """Waits for work. May be cancelled; call it only when there is a slot for what it gives."""
        if self._withdrawing:
            await asyncio.shield(self._withdrawing)
        if self._held:
            return self._held.popleft()
        asking = [asyncio.create_task(queue.claim(), name="claiming work") for queue in self._queues]
        try:
            await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._leave(asking)
            raise
        first = next(each for each in asking if each.done())
        self._leave([each for each in asking if each is not first])
        return first.result()

    def _leave(self, asking: list[asyncio.Task[Claim]]) -> None:
        """While what was claimed is run: nothing lies here for want of room that another agent could do."""
        self._withdrawing = asyncio.create_task(self._withdraw(asking), name="asking for no more work")

    async def _withdraw(self, asking: list[asyncio.Task[Claim]]) -> None:
        for task in asking:
            task.cancel()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        self._held += [each for each in ended if isinstance(each, Claim)]
        for queue in self._queues:
            await queue.withdraw()
