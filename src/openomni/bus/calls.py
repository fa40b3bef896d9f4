"""Live calls: one stage of a turn, run by another agent while its input is still coming.

The caller publishes a `StageCall` with an inbox; the agent accepts or refuses, takes inputs by their sequence and
streams answers by theirs. Both sides send a sign of life twice a second: a caller that hears nothing for `silence`
seconds has lost the agent (`AgentLost`) and may ask another one; an agent that hears nothing has lost the caller and
stops the stage. The caller sends at most `WINDOW` inputs ahead of what the stage has taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from .. import events
from ..background import Background, ended
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
from .serving import BEAT, SILENCE, WINDOW, StageServer, serve_stages
from .subscription import Subscription, status

__all__ = ["AgentLost", "AgentRefused", "StageServer", "call_stage", "serve_stages"]

ACCEPT = 2.0
BUFFER = 4096
"""Answers that may wait for a slow reader."""


class AgentLost(BusError):
    """The agent did not take the call, fell silent, or its answers have a gap: ask another one."""


class AgentRefused(BusError):
    """The agent has no slot free or does not offer the component: ask another one."""


async def call_stage(
    bus: Bus,
    agent_id: str,
    call: StageCall,
    inputs: AsyncIterator[Value],
    *,
    first: Value | None = None,
    alone: bool = False,
    accept: float = ACCEPT,
    beat: float = BEAT,
    silence: float = SILENCE,
) -> AsyncIterator[StageAnswer]:
    """Calls a stage on an agent; gives StageAccepted, each StageOutput, and StageDone or StageFailed as the last.

    `first`: an input that is here already, ahead of `inputs`; `alone`: these are known to be none. It travels with the
    call where it is small enough, and does not wait for the agent to accept.
    Close it (`aclose`) to cancel the call. Raises AgentRefused, AgentLost, and what `inputs` raises.
    """
    project = call.inputs.split(".")[1]
    inbox = bus.inbox()
    asked = events.encode(msgspec.structs.replace(call, first=first, count=1 if alone else None))
    if too_large := len(asked) > wire.PART:
        asked = events.encode(call)
    with bus.hold():
        async with await bus.subscribe(inbox, limit=BUFFER) as messages:
            sender = _Sender(bus, call.inputs, first if too_large else None, inputs, messages)
            sender.sent = int(first is not None and not too_large)
            answers = _Answers(messages, agent_id, silence)
            over = False
            try:
                await wire.publish(bus, subjects.call(project, agent_id), asked, reply=inbox)
                answer = await answers.next(accept)
                if isinstance(answer, StageRefused):
                    over = True
                    raise AgentRefused(f"agent {answer.agent} refused {call.kind}:{call.component}: {answer.reason}")
                sender.start(beat)
                while True:
                    if isinstance(answer, StageAlive):
                        sender.taken(answer.taken)
                    elif isinstance(answer, StageRefused):
                        over = True
                        raise AgentLost(f"agent {answer.agent} gave the call up: {answer.reason}")
                    else:
                        over = isinstance(answer, StageDone | StageFailed)
                        yield answer
                        if over:
                            return
                    answer = await answers.next(silence)
            finally:
                await sender.aclose()
                if not over:
                    await bus.publish(call.inputs, events.encode(StageCancel()))


class _Answers:
    """The answers of one call, whole and in order."""

    def __init__(self, messages: Subscription, agent_id: str, silence: float) -> None:
        self._messages = messages
        self._agent_id = agent_id
        self._joiner = wire.Joiner()
        self._outputs = 0

    async def next(self, timeout: float) -> StageAnswer:
        while True:
            try:
                answer = events.decode_answer(await self._whole(timeout))
            except events.UnknownEvent:
                continue
            if isinstance(answer, StageOutput):
                self._expect(answer.sequence)
                self._outputs += 1
                if isinstance(answer.value, Unknown):
                    continue
            elif isinstance(answer, StageDone):
                self._expect(answer.count)
            return answer

    async def _whole(self, timeout: float) -> bytes:
        data: bytes | None = None
        while data is None:
            try:
                async with asyncio.timeout(timeout):
                    message = await anext(self._messages)
            except TimeoutError:
                raise AgentLost(f"agent {self._agent_id} was silent for {timeout:g} s") from None
            if status(message) == "503":
                raise AgentLost(f"agent {self._agent_id} is not on the bus")
            data = self._joiner.add(message)
        return data

    def _expect(self, sequence: int) -> None:
        if sequence != self._outputs:
            raise AgentLost(f"outputs {self._outputs} to {sequence - 1} of agent {self._agent_id} were lost on the way")


class _Sender:
    """Sends the inputs of one call, a bounded number ahead, and signs of life until the call is over."""

    def __init__(
        self, bus: Bus, subject: str, first: Value | None, inputs: AsyncIterator[Value], messages: Subscription
    ) -> None:
        self._bus = bus
        self._subject = subject
        self._first = first
        self._inputs = inputs
        self._messages = messages
        self.sent = 0
        self._taken = 0
        self._room = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._beating: Background | None = None

    def start(self, beat: float) -> None:
        self._sending = asyncio.create_task(self._send())
        self._beating = Background(lambda: self._beat(beat), f"the sign of life on {self._subject}", longest=beat)

    def taken(self, count: int) -> None:
        self._taken = max(self._taken, count)
        self._room.set()

    async def aclose(self) -> None:
        # Whoever waits for what comes after this call waits for each step here.
        if self._beating:
            self._beating.cancel()
        if self._sending:
            await ended(self._sending)
        close = getattr(self._inputs, "aclose", None)
        if close:
            await close()

    async def _send(self) -> None:
        try:
            if self._first is not None:
                await self._put(self._first)
            async for value in self._inputs:
                await self._put(value)
            await self._bus.publish(self._subject, events.encode(StageInputEnd(self.sent)))
        except Exception as error:
            # Whoever reads the answers gets to know, and the call is cancelled.
            self._messages.fail(error)

    async def _put(self, value: Value) -> None:
        for piece in wire.pieces(value):
            while self.sent - self._taken >= WINDOW:
                self._room.clear()
                await self._room.wait()
            await wire.publish(self._bus, self._subject, events.encode(StageInput(self.sent, piece)))
            self.sent += 1

    async def _beat(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            await self._bus.publish(self._subject)
