"""A coroutine on an event loop of its own, in a thread beside Django's."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

log = logging.getLogger("openomni.api")


class LoopThread:
    """Runs `main()` in a thread called `name` from `start` until it returns or `stop` cancels it.

    A failure of it is logged; it is for `main` to go on after what can be mended.
    """

    def __init__(self, name: str, main: Callable[[], Awaitable[None]]) -> None:
        self._main = main
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._ready = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self.loop = asyncio.new_event_loop()

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Cancels `main` and waits for it to clean up. Stopping twice is fine."""
        if self._task and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._task.cancel)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._guarded())

    async def _guarded(self) -> None:
        self._task = asyncio.current_task()
        self._ready.set()
        try:
            await self._main()
        except asyncio.CancelledError:
            return
        except Exception:
            log.exception("%s ended", self._thread.name)
