"""What commands that start parts of ours share: how a part is called, a port for it, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..children import Child, failed

LOOK_EVERY = 0.02
"""Seconds between looks for a file that a child writes."""

T = TypeVar("T")


def command(*arguments: str) -> list[str]:
    """`openomni ARGUMENTS` with this very Python."""
    return [sys.executable, "-m", "openomni.cli.main", *arguments]


PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections, of which one may take a port before its server does."""


def free_port(host: str = "127.0.0.1") -> int:
    """One that nobody listens on. Raises OSError when there is none."""
    for port in random.sample(PORTS, 100):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise OSError(errno.EADDRINUSE, f"none of a hundred ports from {PORTS.start} on is free on {host}")


class Terminated(SystemExit):
    """SIGTERM ended us, in order."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end. SIGTERM cancels it as Ctrl-C does, so that its children end in order, and raises Stopped."""

    async def cancellable() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await main

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        raise Terminated(128 + signal.SIGTERM) from None


async def until(file: Path, several: Sequence[Child]) -> None:
    """Waits for a file that a child writes; raises what ended one of them instead."""
    while not file.is_file():
        if (failure := failed(several)) is not None:
            raise failure
        await asyncio.sleep(LOOK_EVERY)
