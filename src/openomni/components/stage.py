"""Runs a component as a stage: whatever its author wrote becomes a stream of values, timed and cancellable."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from .. import clock
from ..errors import WrongUsage
from ..events import Message, Value
from .fence import fenced
from .kinds import kind_of
from .registry import label
from .run import Callee, ComponentRun, StageError, StageTiming
from .worker import END, CallThread

__all__ = ["TIMEOUT", "LocalStage", "StageError", "StageTiming"]

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds that a component may work without giving anything before it counts as hung."""


class LocalStage:
    """A component in this process with `slots` runs at a time; further runs wait for their turn, in order.

    Blocking code runs in one worker thread per slot. A slot stays taken until its call has really returned, also when
    nobody wants the result any more: `busy` counts all that are taken, `abandoned` those.

    Args:
        slots: Runs at a time; by default the component's own `slots`, else one.
    """

    def __init__(self, kind: str, component: Any, slots: int | None = None) -> None:
        found = kind_of(kind)
        if not found.stage:
            raise WrongUsage(f"a {kind} component serves turn-taking and is no stage; name it under `turn_taking`")
        self.kind = kind
        self.component = component
        self.slots = slots or int(getattr(component, "slots", 1))
        streams = bool(found.streaming) and hasattr(component, found.streaming)
        self._callee = Callee(
            kind, label(kind, component), found.method_of(component), streams, self._interrupt,
            found.options_of(component),
        )  # fmt: skip
        self._free: asyncio.Queue[CallThread] = asyncio.Queue()
        for number in range(self.slots):
            self._free.put_nowait(CallThread(f"{self.label}#{number}"))
        self._busy = 0
        self._all_free = asyncio.Event()
        self._all_free.set()
        self._closed = False
        self._runs: set[ComponentRun] = set()
        self._warm: asyncio.Task[None] | None = None
        self._preparing = False

    @property
    def label(self) -> str:
        """`kind:name`."""
        return self._callee.label

    @property
    def options(self) -> tuple[str, ...]:
        """What may be asked of one run."""
        return self._callee.options

    @property
    def busy(self) -> int:
        """Slots that are taken."""
        return self._busy

    @property
    def abandoned(self) -> int:
        """Slots that are taken by calls which were cancelled, or hung, and have not returned."""
        return sum(run.abandoned for run in self._runs)

    async def run(
        self,
        inputs: AsyncIterator[Value],
        timing: StageTiming | None = None,
        timeout: float = TIMEOUT,
        asked: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Value, None]:
        """The stage's outputs for `inputs`, as they come; `asked` are options of the kind for this run alone, and
        `timing.declined` says which of them the component does not have.

        Closing the generator, or cancelling the task that reads it, stops the output at once. `timeout` bounds the
        seconds in which the component works and gives nothing, and the wait for a slot. Raises `StageError`; an error
        of `inputs` itself comes through unchanged, and `inputs` stays the caller's to close.
        """
        timing = timing or StageTiming()
        timing.ready = clock.now() if timing.ready is None else timing.ready
        worker = await self._claim(timeout)
        run = ComponentRun(self._callee, worker, inputs, timing, timeout, asked or {})
        timing.claimed = clock.now()
        try:
            await self._warm_for(worker, timing)
        except BaseException:
            self._give_back(worker)
            raise
        self._runs.add(run)
        run.start(self._finished)
        try:
            while (value := await run.next()) is not END:
                yield value
        finally:
            await run.stop()
            timing.ended = clock.now() if timing.ended is None else timing.ended

    async def warm_up(self) -> None:
        """Calls the component's `warm_up`, once. Raises `StageError`; a later call then tries again."""
        worker = self._taken(await self._free.get())
        try:
            await self._warm_for(worker, StageTiming())
        finally:
            self._give_back(worker)

    async def prepare(self, messages: Sequence[Message]) -> None:
        """Lets a language model warm its prefix between turns; nothing where all slots are taken or it can't.

        A run that needs the slot meanwhile has precedence: the component's `cancel` ends the preparation.
        """
        hook = getattr(self.component, "prepare", None)
        if hook is None or self._free.empty():
            return
        worker = self._taken(self._free.get_nowait())
        self._preparing = True
        try:
            await self._hook(worker, hook, messages)
        except asyncio.CancelledError:
            self._interrupt()
            raise
        finally:
            self._preparing = False
            self._give_back(worker)

    async def load_voice(self, voice: str) -> None:
        """Lets a voice's component load the voice of that name beside what runs, in a thread that is no slot's, so that
        nobody's reply waits for it; nothing where it has no such hook. What goes wrong will show in its next run."""
        hook = getattr(self.component, "load_voice", None)
        if hook is None:
            return
        try:
            with fenced():
                await (hook(voice) if inspect.iscoroutinefunction(hook) else asyncio.to_thread(hook, voice))
        except Exception as error:
            log.info("%s did not load the voice %r: %s", self.label, voice, error)

    async def ending(self, messages: Sequence[Message], timeout: float = TIMEOUT) -> float | None:
        """The probability, 0…1, that the last message ends where it does, from a language model that can say; else
        None. It takes a slot, as a run does."""
        hook = getattr(self.component, "ending", None)
        if hook is None:
            return None
        worker = await self._claim(timeout)
        try:
            found = await self._hook(worker, hook, messages)
        except asyncio.CancelledError:
            self._interrupt()
            raise
        finally:
            self._give_back(worker)
        return None if found is None else float(found)

    async def close(self) -> None:
        """Stops what runs and calls the component's `close`. A call that does not return is left behind."""
        self._closed = True
        for run in list(self._runs):
            await run.stop()
        workers = [self._free.get_nowait() for _ in range(self._free.qsize())]
        try:
            hook = getattr(self.component, "close", None)
            if hook is not None:
                await self._hook(workers[0] if workers else CallThread(f"{self.label}#close"), hook)
        finally:
            for worker in workers:
                worker.stop()

    async def all_free(self) -> None:
        """Returns once every slot is free, abandoned calls included."""
        await self._all_free.wait()

    # ---- slots ---------------------------------------------------------------------------------------------------

    async def _claim(self, timeout: float) -> CallThread:
        if self._closed:
            raise StageError(self.label, "is closed")
        if self._preparing and self._free.empty():
            self._interrupt()
        try:
            async with asyncio.timeout(timeout):
                return self._taken(await self._free.get())
        except TimeoutError:
            lost = f", {self.abandoned} by calls that were given up but never returned" if self.abandoned else ""
            reason = f"no slot came free in {timeout:g} s (taken: {self.busy}{lost}); restart its agent if it stays so"
            raise StageError(self.label, reason) from None

    def _taken(self, worker: CallThread) -> CallThread:
        self._busy += 1
        self._all_free.clear()
        return worker

    def _finished(self, run: ComponentRun) -> None:
        def freed() -> None:
            self._runs.discard(run)

        self._give_back(run.worker, freed)

    def _give_back(self, worker: CallThread, freed: Callable[[], None] = lambda: None) -> None:
        """Frees a slot: now, or when its thread's call has returned."""

        def free(_: object = None) -> None:
            if self._closed:
                worker.stop()
            else:
                self._free.put_nowait(worker)
            self._busy -= 1
            if not self._busy:
                self._all_free.set()
            freed()

        if worker.idle:
            free()
        else:
            worker.submit(int).add_done_callback(free)

    # ---- hooks ---------------------------------------------------------------------------------------------------

    async def _warm_for(self, worker: CallThread, timing: StageTiming) -> None:
        hook = getattr(self.component, "warm_up", None)
        if hook is None:
            return
        if self._warm is None or (self._warm.done() and (self._warm.cancelled() or self._warm.exception())):
            self._warm = asyncio.create_task(self._hook(worker, hook))
        if not self._warm.done():
            timing.load_started = clock.now()
            await asyncio.shield(self._warm)
            timing.loaded = clock.now()

    async def _hook(self, worker: CallThread, hook: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with fenced():
                given = hook(*arguments) if inspect.iscoroutinefunction(hook) else worker.submit(hook, *arguments)
                result = await given
                return await result if inspect.isawaitable(result) else result
        except Exception as error:
            raise self._callee.error(error) from error

    def _interrupt(self) -> None:
        """Calls the component's `cancel`, which must return at once: it runs beside the call that it ends.

        With several slots it could not tell which call is meant; there the end of its generator or coroutine says it.
        """
        if self.slots > 1 or not hasattr(self.component, "cancel"):
            return
        try:
            with fenced():
                self.component.cancel()
        except Exception:
            log.exception("%s raised in cancel()", self.label)
