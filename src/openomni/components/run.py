"""One run of a component: a task that feeds it and queues what it gives, and the reader's side of that queue."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from .. import clock
from ..errors import Declined, OpenOmniError
from ..events import Sound, Usage, Value
from ..media import Audio
from . import adapt
from .fence import fenced, words
from .worker import END, CallThread, Chunks

log = logging.getLogger(__name__)

OUTPUTS_HELD = 64
"""Outputs that wait for a slow reader before the component has to wait too."""
GRACE = 0.25
"""Seconds that an asynchronous component gets to clean up after a cancel before it is left to itself."""


TOLD = 100
"""Refusals that the log has a line of: whoever talks to a session may ask for anything."""


class StageError(OpenOmniError):
    """A component raised, hung or gave the wrong type; the message is its name and the reason, in one line."""

    def __init__(self, component: str, reason: str) -> None:
        reason = " ".join(reason.split())
        self.component = component
        self.reason = reason if len(reason) <= 500 else f"{reason[:499]}…"
        super().__init__(f"{component}: {self.reason}")


@dataclass(slots=True)
class StageTiming:
    """When one run passed its marks: `clock.now()` seconds, None where it never came there.

    `ready` → `claimed` is queue; `load_started` → `loaded` is load, None both when the component was warm;
    `model_started` → `ended` is the model, less the `waited` seconds in which it had to wait for more input.
    """

    ready: float | None = None
    claimed: float | None = None
    load_started: float | None = None
    loaded: float | None = None
    model_started: float | None = None
    first_output: float | None = None
    ended: float | None = None
    waited: float = 0.0
    usage: Usage | None = None
    build: str = ""
    """What it ran on, by the id of its record."""
    seed: int | None = None
    """What the component was built to draw by."""
    outputs: int = 0
    """How many were given so far."""
    calls: list[int] = field(default_factory=list)
    """Of a voice: how many outputs there were before each of its inputs."""
    declined: dict[str, str] = field(default_factory=dict)
    """What was asked of this run that the component does not have, and why: it ran as the pipeline has it."""


@dataclass(frozen=True, slots=True)
class Callee:
    """What a run calls: the component's method, which `streams` when it takes live input, its `cancel` hook, and the
    `options` that its method takes."""

    kind: str
    label: str
    method: Callable[..., Any]
    streams: bool
    interrupt: Callable[[], None]
    options: tuple[str, ...] = ()
    asynchronous: bool = field(init=False)
    _takes: int | None = field(init=False)
    """How many positional arguments the method has room for; None for any number."""
    told: set[tuple[str, str]] = field(default_factory=set)
    """What it declined that the log has a line of."""

    def __post_init__(self) -> None:
        # Once: a signature takes longer to read than a run takes to begin.
        awaited = inspect.iscoroutinefunction(self.method) or inspect.isasyncgenfunction(self.method)
        object.__setattr__(self, "asynchronous", awaited)
        object.__setattr__(self, "_takes", _positional(self.method, self.options))

    def accepted(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """As many of the kind's arguments as the author's method takes; the trailing ones may be left out."""
        return arguments[: self._takes]

    def declines(self, option: str, value: str, reason: str) -> None:
        """Tells the log, once: a session asks for the same with each turn."""
        if (option, value) not in self.told and len(self.told) < TOLD:
            self.told.add((option, value))
            log.warning("%s keeps its own %s: %s", self.label, option, reason)

    def error(self, error: Exception) -> StageError:
        """What the component raised, as one line; an error of ours is one already."""
        if isinstance(error, StageError):
            return error
        if isinstance(error, OpenOmniError):
            return StageError(self.label, str(error))
        return StageError(self.label, f"raised {words(error)}" if str(error) else f"raised {error!r}")


def _positional(method: Callable[..., Any], options: tuple[str, ...]) -> int | None:
    parameters = inspect.signature(method).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in positional and each.name not in options for each in parameters)


class ComponentRun:
    """`start`, then `next` until END, then `stop`."""

    def __init__(
        self,
        callee: Callee,
        worker: CallThread,
        inputs: AsyncIterator[Value],
        timing: StageTiming,
        timeout: float,
        asked: Mapping[str, str],
    ) -> None:
        self.abandoned = False
        self.worker = worker
        self._callee = callee
        self._timing = timing
        self._timeout = timeout
        self._inputs = inputs
        self._input_error: Exception | None = None
        self._chunks: Chunks | None = None
        self._outputs: asyncio.Queue[Any] = asyncio.Queue(OUTPUTS_HELD)
        self._inside = False
        self._over = False
        self._finished: Callable[[ComponentRun], None] | None = None
        self._working_since: float | None = None
        """Loop time since which it is the component's turn to give something; None while it waits for input."""
        self._asked = {name: value for name, value in asked.items() if name in callee.options}
        timing.declined |= {name: f"{callee.label} takes no {name}" for name in asked if name not in callee.options}

    def start(self, finished: Callable[[ComponentRun], None]) -> None:
        """`finished` is called when the component's code is left, which may be long after `stop`."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._drive(), name=f"stage {self._callee.label}")

        def done(task: asyncio.Task[None]) -> None:
            if task.cancelled() and not self._outputs.full():
                self._outputs.put_nowait(self._stopped())  # wakes a reader that did not ask for this stop
            self._leave()

        self._finished = finished
        self._task.add_done_callback(done)

    def _leave(self) -> None:
        """Once; the reader of the last output may be here before the task's own callback."""
        finished, self._finished = self._finished, None
        if finished is not None:
            finished(self)

    async def next(self) -> Any:
        """The next output, or END. Raises what went wrong, and `StageError` when nothing comes for too long."""
        if self._outputs.empty() and self._task.cancelled():
            raise self._stopped()
        while True:
            since = self._working_since
            try:
                async with asyncio.timeout_at((self._loop.time() if since is None else since) + self._timeout):
                    item = await self._outputs.get()
                break
            except TimeoutError:
                if since is not None and since == self._working_since:
                    reason = f"hung: nothing came out of it for {self._timeout:g} s"
                    raise StageError(self._callee.label, reason) from None
        self._over = item is END or isinstance(item, Exception)
        if isinstance(item, Exception):
            raise item
        return item

    async def stop(self) -> None:
        """Ends the run; returns once no output can follow, though a blocked call may still hold its thread."""
        if self._over and not self._task.done():
            await asyncio.wait({self._task})  # its last step
        if self._task.done():
            self._leave()  # the slot is free when the reader goes on
            return
        self.abandoned = True
        if self._chunks is not None:
            self._chunks.stop()
        if self._inside:
            self._callee.interrupt()
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=GRACE)

    def _stopped(self) -> StageError:
        return StageError(self._callee.label, "was stopped, its stage is closing")

    # ---- the task ------------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        outputs = adapt.Outputs(self._callee.kind)
        last: Any = END
        try:
            with fenced():
                async with aclosing(self._results()) as results:
                    async for item, streamed in results:
                        for value in outputs.take(item, streamed):
                            await self._put(value)
                        if streamed and self._timing.outputs == 1:
                            await asyncio.sleep(0)  # the first is on its way before what comes at once with it
                for value in outputs.end():
                    await self._put(value)
        except Exception as error:
            last = self._input_error or self._callee.error(error)
        self._timing.ended = clock.now()
        self._working_since = None
        await self._outputs.put(last)

    async def _put(self, value: Value) -> None:
        if isinstance(value, Sound) and self._callee.kind == "tts":
            value = msgspec.structs.replace(value, clause=len(self._timing.calls) - 1)
        if isinstance(value, Usage):
            self._timing.usage = value if self._timing.usage is None else self._timing.usage + value
        elif self._timing.first_output is None:
            self._timing.first_output = clock.now()
        self._timing.outputs += 1
        await self._outputs.put(value)
        if self._working_since is not None:
            self._working_since = self._loop.time()

    async def _results(self) -> AsyncGenerator[tuple[Any, bool], None]:
        """What the component gives, one item at a time, and whether it streams."""
        async with aclosing(self._calls()) as calls:
            async for arguments in calls:
                self._inside = True
                async with aclosing(self._answer(self._callee.accepted(arguments))) as results:
                    async for result in results:
                        yield result
                self._inside = False

    async def _answer(self, arguments: tuple[Any, ...]) -> AsyncGenerator[tuple[Any, bool], None]:
        """As it was asked to, less what the component declines: that is left out in the rest of the run, too."""
        while True:
            given = False
            try:
                async with aclosing(self._call(arguments)) as results:
                    async for result in results:
                        given = True
                        yield result
                return
            except Declined as refusal:
                value = self._asked.get(refusal.option)
                if given or value is None:
                    raise
                del self._asked[refusal.option]
                self._timing.declined[refusal.option] = str(refusal)
                self._callee.declines(refusal.option, value, str(refusal))

    async def _call(self, arguments: tuple[Any, ...]) -> AsyncGenerator[tuple[Any, bool], None]:
        method = partial(self._callee.method, *arguments, **self._asked)
        result = method() if self._callee.asynchronous else await self.worker.submit(method)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, list) and self._callee.kind != "retrieval":
            result = iter(result)
        if isinstance(result, AsyncIterator):
            items = result
        elif isinstance(result, Iterator):
            items = self._pulled(result)
        else:
            yield result, False
            return
        try:
            async for item in items:
                yield item, True
        finally:
            if hasattr(items, "aclose"):
                await items.aclose()

    async def _pulled(self, iterator: Iterator[Any]) -> AsyncGenerator[Any, None]:
        """A blocking iterator's items, pulled in the worker thread; left early, it is closed there."""
        try:
            while (item := await self.worker.submit(next, iterator, END)) is not END:
                yield item
        except (GeneratorExit, asyncio.CancelledError):
            if hasattr(iterator, "close"):
                self.worker.submit(iterator.close).add_done_callback(self._closed)
            raise

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        if not closing.cancelled() and (error := closing.exception()) is not None:
            log.warning("%s raised while it was closed: %s", self._callee.label, error)

    # ---- its input -----------------------------------------------------------------------------------------------

    async def _calls(self) -> AsyncGenerator[tuple[Any, ...], None]:
        """The arguments of each call that this run makes: one for each clause of a voice, else one in all."""
        if self._callee.streams:
            self._working_since = self._loop.time()
            live = _LiveAudio(self.take)
            self._chunks = None if self._callee.asynchronous else Chunks(live)
            yield (self._chunks or live,)
        elif self._callee.kind == "tts":
            while (value := await self.take()) is not END:
                self._timing.calls.append(self._timing.outputs)
                if value.text.strip():
                    self._model_starts()
                    yield (value.text,)
        else:
            values: list[Value] = []
            while (value := await self.take()) is not END:
                values.append(value)
            arguments = adapt.arguments(self._callee.kind, values)
            self._model_starts()
            yield arguments

    async def take(self) -> Any:
        """The next input, checked, or END. While it is waited for, the component can't hang."""
        self._working_since = None
        before = clock.now()
        try:
            value = await anext(self._inputs, END)
        except Exception as error:
            self._input_error = error
            raise
        finally:
            self._working_since = self._loop.time()
            if self._timing.model_started is not None:
                self._timing.waited += clock.now() - before
        if value is END:
            return END
        adapt.check_input(self._callee.kind, value)
        if self._callee.streams:
            self._model_starts()
        return value

    def _model_starts(self) -> None:
        if self._timing.model_started is None:
            self._timing.model_started = clock.now()


class _LiveAudio(AsyncIterator[Audio]):
    """The audio of a stage's input while it comes. No generator: it needs no closing when a component leaves it."""

    def __init__(self, take: Callable[[], Awaitable[Any]]) -> None:
        self._take = take

    async def __anext__(self) -> Audio:
        value = await self._take()
        if value is END:
            raise StopAsyncIteration
        audio: Audio = value.audio
        return audio
