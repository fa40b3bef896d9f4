"""Child processes: started, logged to files, started again when they end by themselves, gone when we are."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import clock
from .background import Background
from .errors import OpenOmniError, WrongUsage

log = logging.getLogger(__name__)

STEADY_SECONDS = 10.0
"""A child that ran this long had started well: its end is a crash, and it is started again."""
MOST_CRASHES = 5
"""Ends one after the other, none after a steady run, that end the trying."""
LONGEST_WAIT = 5.0
"""Seconds before it is started again: doubled with each end that comes early."""
GRACE_SECONDS = 35.0
"""How long children get to end in order; an agent drains for up to 30 s."""
LOG_BYTES = 10 * 2**20
"""A log that is longer is put aside as `NAME.log.1`, in place of the one before it."""
LOOK_AT_LOG_EVERY = 10.0
_LAST_BYTES = 16 * 1024
_PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """One process that is to run from `start` to `stop`.

    `log`: where its output goes; None for a process that keeps a log itself. `failure` is set when it ended and is not
    started again.
    """

    name: str
    argv: Sequence[str]
    log: Path | None
    environment: Mapping[str, str] = field(default_factory=dict)
    pass_fds: Sequence[int] = ()
    comes_to_an_end: bool = False
    """It ends when its work is done, and is started once only."""
    for_ever: bool = False
    """It is started again whatever it says, and however often it ends."""
    first_wait: float = 0.5
    """Seconds before it is started again, the first time."""
    restarts: int = 0

    def __post_init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.failure: OpenOmniError | None = None
        self._crashes = 0
        self._watch: Background | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    async def start(self) -> None:
        """Returns once it runs, and serves. Raises OSError, and what `serves` raises."""
        await self._launch()
        self._watch = Background(self._keep, f"keeping the {self.name} running", longest=LONGEST_WAIT)

    async def serves(self) -> None:
        """Returns once it does its work; raises what keeps it from that. At once, where nothing is known about it."""

    async def ended(self) -> int:
        """The exit code of one that comes to an end."""
        assert self.process is not None
        return await self.process.wait()

    @property
    def done(self) -> bool:
        """Whether it ended and is not started again."""
        return self._watch is not None and self._watch.done

    def tell(self, number: int) -> None:
        """Sends it a signal, if it runs."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def stop(self, grace: float | None = None) -> None:
        """An orderly end; after `grace` seconds a hard one."""
        if self._watch is not None:
            await self._watch.stop()
        if self.pid is None or self.process is None:
            return
        self.tell(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), GRACE_SECONDS if grace is None else grace)
        except TimeoutError:
            await self._kill()

    def last_words(self, code: int) -> str:
        """Why it ended, as it said itself."""
        said = self.last_line().removeprefix("openomni: ") or "it said nothing"
        return f"the {self.name} ended with exit code {code}: {said} (log: {self.log})"

    def last_line(self) -> str:
        """What it wrote last since it was started; empty when nothing."""
        if self.log is None:
            return ""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            start = self._log_start if self._log_start <= size else 0
            log.seek(max(start, size - _LAST_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    # ---- kept running ----------------------------------------------------------------------------------------

    async def _launch(self) -> None:
        with self._output() as output:
            self._started = clock.now()
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                pass_fds=self.pass_fds,
                # A session of its own: Ctrl-C is for us, and we end the children in order.
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        try:
            await self.serves()
        except BaseException:
            await self._kill()
            raise

    @contextlib.contextmanager
    def _output(self) -> Iterator[int]:
        if self.log is None:
            yield asyncio.subprocess.DEVNULL
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            yield log.fileno()

    async def _keep(self) -> None:
        """Returns when it ended and is not started again."""
        while True:
            if self.pid is None and self.restarts:
                await self._launch()
            code = await self._end()
            steady = clock.now() - self._started > STEADY_SECONDS
            self._crashes = 1 if steady else self._crashes + 1
            if self._is_final(code, steady):
                if code or not self.comes_to_an_end:
                    self.failure = OpenOmniError(self.last_words(code))
                return
            self.restarts += 1
            log.warning("%s; starting it again", self.last_words(code))
            await asyncio.sleep(min(self.first_wait * 2 ** (self._crashes - 1), LONGEST_WAIT))

    def _is_final(self, code: int, steady: bool) -> bool:
        if self.comes_to_an_end:
            return True
        if self.for_ever:
            return False
        # Of these two it said what is wrong, and will say it again. Nobody asked it to end: 0 says nothing.
        return code == WrongUsage.exit_code or (code == 1 and not steady) or self._crashes > MOST_CRASHES

    async def _end(self) -> int:
        """Its exit code, once it has one."""
        assert self.process is not None
        end = asyncio.ensure_future(self.process.wait())
        try:
            while not (await asyncio.wait({end}, timeout=LOOK_AT_LOG_EVERY))[0]:
                await asyncio.to_thread(self._bound_log)
            return end.result()
        finally:
            end.cancel()

    def _bound_log(self) -> None:
        """The child holds its log open and appends to it, so the file stays and what is in it goes."""
        if self.log is None or self.log.stat().st_size <= LOG_BYTES:
            return
        shutil.copyfile(self.log, self.log.with_name(f"{self.log.name}.1"))
        os.truncate(self.log, 0)

    async def _kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


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


def die_with_parent() -> Callable[[], None] | None:
    """Run in the child before exec: the kernel ends it with SIGTERM when the thread that started it is gone."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
