"""An event loop whose clock jumps from timer to timer: minutes take milliseconds, always the same way."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
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


class _Loop(asyncio.SelectorEventLoop):
    """What goes to a thread is done in the next step: on this clock it takes no time."""

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        future = self.create_future()

        def do() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(function(*arguments))
            except Exception as error:
                future.set_exception(error)

        self.call_soon(do)
        return future


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs `main` on a virtual clock that both the loop and `clock.now` read, from 0 on."""
    selector = _Jumping()
    loop = _Loop(selector)
    loop.time = lambda: selector.time  # type: ignore[method-assign]
    with clock.using(lambda: selector.time), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
