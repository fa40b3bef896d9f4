"""Ctrl-C and SIGTERM, which end a capture or a playback in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stops_on_signals(stop: Callable[[], object]) -> Iterator[None]:
    """The first of them calls `stop`; a second is final."""
    loop = asyncio.get_running_loop()

    def once() -> None:
        restore()
        stop()

    def restore() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, once)
    except (ValueError, RuntimeError):  # not the main thread: whoever runs us there stops us by cancelling
        yield
        return
    try:
        yield
    finally:
        restore()
