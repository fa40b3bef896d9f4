"""Serves the API: one process, uvicorn, with the threads that listen to the bus."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from ..errors import OpenOmniError

DATE_S = 1.0
"""How late the date of an answer may be."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that is ours; port 0 takes a free one. Raises `OpenOmniError` with the mend."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise OpenOmniError(f"port {port} on {host} is taken; choose another with --port") from None
        raise OpenOmniError(f"can't listen on {host} port {port} ({error}); check --host and --port") from None
    return listener


class _Server(uvicorn.Server):
    """uvicorn, that says when it serves."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        # uvicorn's looks ten times a second whether it is to stop, which is most of what an idle server does.
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_S):
                    await self._stopping.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._ready()


def serve(listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT; `ready` is called once requests are answered. Django must be set up."""
    # uvicorn stops in order and then raises the signal again, which would end the process as if it were killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from .asgi import application

    config = uvicorn.Config(
        application,
        lifespan="on",
        proxy_headers=False,  # `proxy.TrustedProxy` does it, the host included
        server_header=False,
        date_header=True,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
        ws="none",
    )
    _Server(config, ready).run(sockets=[listener])
