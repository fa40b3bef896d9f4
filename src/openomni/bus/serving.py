"""The serving side of live calls: an agent takes calls, runs their stages and streams the answers.

See `calls` for the exchange.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Self

import msgspec
from nats.aio.msg import Msg

from .. import events
from ..background import Background
from ..errors import OpenOmniError
from ..events import (
    StageAlive,
    StageAnswer,
    StageCall,
    StageCancel,
    StageDone,
    StageFailed,
    StageInput,
    StageInputEnd,
    StageOutput,
    StageRefused,
    Unknown,
    Value,
)
from . import subjects, wire
from .connection import Bus, BusError
from .subscription import Subscription

log = logging.getLogger(__name__)

BEAT = 0.5
SILENCE = 2.0
WINDOW = 32
"""Inputs that a caller sends ahead of what the stage has taken."""

Run = Callable[[StageCall, AsyncIterator[Value]], AsyncIterator[StageAnswer]]
"""Runs a call: accepts or refuses, gives outputs, ends with StageDone or StageFailed. Sequences are filled in here."""


class StageServer:
    """Serves calls until `aclose()`; `drain()` first lets those that run finish."""

    def __init__(self, bus: Bus, agent_id: str, run: Run, beat: float, silence: float) -> None:
        self._bus = bus
        self._agent_id = agent_id
        self._run = run
        self._beat = beat
        self._silence = silence
        self._calls: set[asyncio.Task[None]] = set()
        self._joiner = wire.Joiner()
        self._subscription: Subscription | None = None

    async def start(self, project: str) -> Self:
        self._subscription = await self._bus.subscribe(subjects.call(project, self._agent_id), self._called)
        await self._bus.flush()
        return self

    @property
    def running(self) -> int:
        return len(self._calls)

    async def drain(self) -> None:
        """Takes no more calls and returns when those that run are over."""
        if self._subscription:
            await self._subscription.aclose()
        if self._calls:
            await asyncio.wait(self._calls)

    async def aclose(self) -> None:
        """Stops at once; callers are told."""
        if self._subscription:
            await self._subscription.aclose()
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _called(self, message: Msg) -> None:
        call = events.decode_request(message.data)
        if not isinstance(call, StageCall) or not message.reply:
            raise BusError(f"{message.subject} takes stage calls with a reply subject, not {type(call).__name__}")
        task = asyncio.create_task(self._serve(call, message), name=f"stage call {call.call_id}")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _serve(self, call: StageCall, message: Msg) -> None:
        inputs = _Inputs(self._silence, call)
        with self._bus.hold():
            async with await self._bus.subscribe(call.inputs, inputs.feed):
                answers = _Answering(self._bus, message, inputs)
                running = asyncio.create_task(answers.all(self._run(call, inputs)))
                beating = Background(
                    lambda: answers.beat(self._beat), f"the sign of life of call {call.call_id}", longest=self._beat
                )
                inputs.on_cancel(running.cancel)
                try:
                    await asyncio.wait((running,))
                except asyncio.CancelledError:
                    running.cancel()
                    await asyncio.wait((running,))
                    await answers.send(StageRefused(self._agent_id, "it stopped"))
                    raise
                finally:
                    beating.cancel()
                    inputs.close()
        if not running.cancelled() and (error := running.exception()):
            log.error("call %s of %s:%s: %s", call.call_id, call.kind, call.component, error)


async def serve_stages(
    bus: Bus, project: str, agent_id: str, run: Run, *, beat: float = BEAT, silence: float = SILENCE
) -> StageServer:
    """Serves the calls that come for this agent, each by `run(call, inputs)`, until the server is closed.

    A cancelled call, and one whose caller is gone, has its `run` cancelled at once and answers nothing more.
    """
    return await StageServer(bus, agent_id, run, beat, silence).start(project)


class _Answering:
    """Sends what `run` gives, numbered; and signs of life."""

    def __init__(self, bus: Bus, message: Msg, inputs: _Inputs) -> None:
        self._bus = bus
        self._message = message
        self._inputs = inputs
        self._outputs = 0
        inputs.on_room(self.alive)

    async def send(self, answer: StageAnswer) -> None:
        if self._message.reply.startswith("_INBOX."):
            await wire.publish(self._bus, self._message.reply, events.encode(answer))

    async def alive(self) -> None:
        await self.send(StageAlive(self._inputs.taken))

    async def beat(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            await self.alive()

    async def all(self, answers: AsyncIterator[StageAnswer]) -> None:
        last: StageAnswer | None = None
        try:
            async with contextlib.aclosing(answers) as given:  # type: ignore[type-var]
                async for answer in given:
                    last = await self._numbered(answer)
        except OpenOmniError as error:
            last = StageFailed(str(error))
            await self.send(last)
        except Exception as error:
            log.exception("a stage call failed")
            last = StageFailed(f"{type(error).__name__}: {error}".splitlines()[0])
            await self.send(last)
        if not isinstance(last, StageDone | StageFailed | StageRefused):
            await self.send(StageFailed("the stage ended without a result"))

    async def _numbered(self, answer: StageAnswer) -> StageAnswer:
        if isinstance(answer, StageOutput):
            for piece in wire.pieces(answer.value):
                await self.send(msgspec.structs.replace(answer, sequence=self._outputs, value=piece))
                self._outputs += 1
        elif isinstance(answer, StageDone):
            await self.send(msgspec.structs.replace(answer, count=self._outputs))
        else:
            await self.send(answer)
        return answer


class _Inputs:
    """The inputs of one call as an async iterator; raises BusError when some are missing."""

    def __init__(self, silence: float, call: StageCall) -> None:
        self.taken = 0
        self._count = call.count
        self._values: deque[Value] = deque()
        self._received = 0
        self._news = asyncio.Event()
        self._joiner = wire.Joiner()
        self._error: BusError | None = None
        self._cancel: Callable[[], object] = lambda: None
        self._room: Callable[[], object] | None = None
        self._silence = silence
        self._lost = asyncio.get_running_loop().call_later(silence, self._caller_lost)
        if call.first is not None:
            self._take(call.first)

    def on_cancel(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel

    def on_room(self, tell: Callable[[], object]) -> None:
        self._room = tell

    def close(self) -> None:
        self._lost.cancel()

    async def feed(self, message: Msg) -> None:
        self._lost.cancel()
        self._lost = asyncio.get_running_loop().call_later(self._silence, self._caller_lost)
        data = self._joiner.add(message)
        if not data:
            return
        try:
            request = events.decode_request(data)
        except events.UnknownEvent:
            return
        if isinstance(request, StageInput):
            if request.sequence != self._received or len(self._values) >= 2 * WINDOW:
                self._error = BusError(f"inputs {self._received} to {request.sequence - 1} were lost on the way")
            else:
                self._take(request.value)
        elif isinstance(request, StageInputEnd):
            self._count = request.count
            if request.count != self._received:
                self._error = BusError(f"{request.count - self._received} inputs were lost on the way")
        elif isinstance(request, StageCancel):
            self._cancel()
        self._news.set()

    def _take(self, value: Value) -> None:
        self._received += 1
        if isinstance(value, Unknown):
            self.taken += 1  # the caller waits for it to be
        else:
            self._values.append(value)

    def _caller_lost(self) -> None:
        log.warning("the caller of a stage was silent for %g s; stopping it", self._silence)
        self._cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Value:
        while not self._values:
            if self._error:
                raise self._error
            if self._count is not None:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        value = self._values.popleft()
        self.taken += 1
        if self._room and self.taken % (WINDOW // 4) == 0:
            await self._room()  # type: ignore[misc]
        return value
