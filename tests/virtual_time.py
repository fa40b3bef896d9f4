"""An event loop whose clock jumps from timer to timer: minutes take milliseconds, always the same way."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from openomni import clock

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Waits for nothing: what the loop would have waited for, the clock is put forward."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("every task waits for something that never comes")
        if not ready and timeout:
            self.time += timeout
        return ready


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` on a virtual clock that both the loop and `clock.now` read, from 0 on."""
    selector = _Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.time  # type: ignore[method-assign]
    with clock.using(lambda: selector.time), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
