"""Writing to a slow disk beside the event loop, in order, at short intervals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..background import Background, to_the_end


class DiskWriter:
    """Calls `flush` each `every` seconds until `stop`, which calls it a last time."""

    def __init__(self, flush: Callable[[], Awaitable[None]], every: float, name: str) -> None:
        self._flush, self._every = flush, every
        self._writing = Background(self._run, name)

    async def stop(self) -> None:
        """Returns once all is written."""
        await self._writing.stop()
        await self._flush()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            # A write that was begun is finished, and its order kept, when it is stopped meanwhile.
            await to_the_end(self._flush())
