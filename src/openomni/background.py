"""Work that goes on as long as its owner does: it is never over unseen.

What raises is logged, waited for longer each time, and run again; `troubles` tells what a process's health says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar
from weakref import WeakSet

from . import clock
from .errors import OpenOmniError

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds until what failed is run again: doubled each time, back to the first once it went well for as long."""
TOLD_AGAIN = 0.2
"""Seconds after which work that was cancelled and goes on is cancelled again."""

_all: WeakSet[Background] = WeakSet()


class Background:
    """Runs `work` beside its owner until `stop`, and again whenever it raises. Work that returns is done.

    `name` says to a person what it does: "renewing the credentials for the bus".
    """

    def __init__(
        self, work: Callable[[], Awaitable[None]], name: str, *, first: float = FIRST_PAUSE,
        longest: float = LONGEST_PAUSE,
    ) -> None:  # fmt: skip
        self.name = name
        self.trouble = ""
        """Why it does not run at this moment; empty while it does."""
        self.failures = 0
        """How often it failed."""
        self._work, self._first, self._longest = work, first, longest
        self._task = asyncio.create_task(self._run(), name=name)
        _all.add(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def done(self) -> bool:
        """Whether the work has returned, or was stopped."""
        return self._task.done()

    def cancel(self) -> None:
        """Stops it without waiting until it has: for an owner that can't wait."""
        self._task.cancel()

    async def stop(self) -> None:
        """Returns once it has ended."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause = self._first
        while True:
            began = clock.now()
            running = asyncio.ensure_future(self._work())
            try:
                # What has just failed is well again once it has run on for a while.
                if self.trouble and await _within(running, pause):
                    self.trouble = ""
                # Not `await running`: it would hand a cancellation on, and what the work loses would be lost.
                await asyncio.wait({running})
                running.result()
                self.trouble = ""
                return
            except asyncio.CancelledError:
                await ended(running)
                raise
            except Exception as error:
                if clock.now() - began >= self._longest:
                    pause = self._first
                self._tell(error, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest)

    def _tell(self, error: Exception, pause: float) -> None:
        self.failures += 1
        said = str(error) or type(error).__name__
        # What is expected to go wrong says in its message what did; of all else, the place is worth a look, once.
        unseen = not isinstance(error, OpenOmniError) and said != self.trouble
        self.trouble = said
        log.warning("%s failed: %s; again in %g s", self.name, said, pause, exc_info=error if unseen else None)


async def ended(running: asyncio.Future[Any]) -> None:
    """Cancels it until it has ended: `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes
    together with what it waits for, would go on for ever otherwise."""
    while not running.done():
        running.cancel()
        await asyncio.wait({running}, timeout=TOLD_AGAIN)
    if not running.cancelled():
        running.exception()  # it was told already, or comes too late


async def to_the_end(work: Awaitable[T]) -> T:
    """Waits for what must not be left in its midst, a thread's work above all, even when cancelled meanwhile; then the
    cancellation goes on."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        if not running.cancelled() and (error := running.exception()) is not None:
            log.warning("what was waited for to its end failed: %s", str(error) or type(error).__name__)
        raise


async def _within(running: asyncio.Future[None], seconds: float) -> bool:
    """Whether it still runs after `seconds`."""
    await asyncio.wait({running}, timeout=seconds)
    return not running.done()


def troubles() -> dict[str, str]:
    """What of this process's background work does not run at this moment, and why: name → reason."""
    return {each.name: each.trouble for each in list(_all) if each.trouble and not each.done}
