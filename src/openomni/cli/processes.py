"""Child processes of a command: started, logged to files, restarted when they crash, gone when we are."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .. import clock
from ..bus.server import die_with_parent
from ..errors import OpenOmniError

STEADY_SECONDS = 10.0
"""A child that ran this long had started well: its end is a crash, and it is started again."""
MOST_CRASHES = 5
"""Crashes one after the other, none after a steady run, that end the trying."""
GRACE_SECONDS = 35.0
"""How long children get to end in order; an agent drains for up to 30 s."""
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


class Stopped(SystemExit):
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
        raise Stopped(128 + signal.SIGTERM) from None


@dataclass
class Child:
    """One process. Its output goes to `log`; `failure` is set when it ended and is not started again."""

    name: str
    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    restarts: int = 0

    def __post_init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.failure: OpenOmniError | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._launch()
        self._watch = asyncio.create_task(self._supervise(), name=self.name)

    async def _launch(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._started = clock.now()
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                # A session of its own: Ctrl-C is for us, and we end the children in order.
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    async def _supervise(self) -> None:
        crashes = 0
        while True:
            assert self.process is not None
            code = await self.process.wait()
            steady = clock.now() - self._started > STEADY_SECONDS
            crashes = 1 if steady else crashes + 1
            if code in (0, 2) or (code == 1 and not steady) or crashes > MOST_CRASHES:
                # It said what is wrong and will say it again: starting it once more helps nobody.
                self.failure = OpenOmniError(self.last_words(code))
                return
            self.restarts += 1
            await asyncio.sleep(min(0.25 * 2**crashes, 10.0))
            await self._launch()

    def last_words(self, code: int) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("openomni: ") if lines else "it said nothing"
        return f"the {self.name} ended with exit code {code}: {said} (log: {self.log})"

    def tell(self, number: int) -> None:
        """Sends it a signal, if it runs."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), GRACE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def children(*several: Child) -> AsyncIterator[None]:
    """They run while the block does; stopped at the same time."""
    try:
        for child in several:
            await child.start()
        yield
    finally:
        await asyncio.gather(*(child.stop() for child in several))


def failed(several: Sequence[Child]) -> OpenOmniError | None:
    """Why the first of them that can't go on ended."""
    return next((child.failure for child in several if child.failure is not None), None)


async def until(file: Path, several: Sequence[Child]) -> None:
    """Waits for a file that a child writes; raises what ended one of them instead."""
    while not file.is_file():
        if (failure := failed(several)) is not None:
            raise failure
        await asyncio.sleep(LOOK_EVERY)
