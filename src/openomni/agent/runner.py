"""Runs the stages of a turn: here when this agent has the component, else by a live call to an agent that does."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import msgspec

from .. import clock
from ..bus import subjects
from ..bus.calls import AgentLost, AgentRefused, call_stage
from ..bus.connection import Bus
from ..bus.fleet import Fleet, Presence
from ..clock import Offset, OffsetEstimator
from ..components.stage import StageError, StageTiming
from ..errors import OpenOmniError
from ..events import Message, Sound, StageAccepted, StageCall, StageDone, StageFailed, StageOutput, Transcript, Value
from ..pipeline.channel import Flow
from ..pipeline.spec import StageSpec
from ..pipeline.task import AttemptTrace, TaskTrace
from .built import Built, loading

ATTEMPTS = 3
LIVE_PATIENCE = 5.0
"""Seconds that a stage of a live turn waits for an agent with room."""
QUEUED_PATIENCE = 30.0


class NoAgent(OpenOmniError):
    """No agent runs the stage now; later one may."""


class Clocks:
    """How far other agents' clocks are from ours, learned from the calls that are made anyway."""

    def __init__(self) -> None:
        self._estimators: defaultdict[str, OffsetEstimator] = defaultdict(OffsetEstimator)

    def learn(self, agent_id: str, sent: float, there: float, received: float) -> None:
        self._estimators[agent_id].add(sent, there, there, received)

    def offset(self, agent_id: str) -> Offset:
        return self._estimators[agent_id].offset or Offset()


class FleetRunner:
    """A `pipeline.turn.StageRunner`. `patience`: seconds to wait for an agent that has room.

    An agent that is lost in mid-call has its stage run again elsewhere, from its first input, unless some of its
    output is in use already: then a voice goes on with the first clause that nobody has begun to hear, and a language
    model fails, for it would not go on with the same sentence.
    """

    def __init__(
        self, agent_id: str, name: str, built: Built, bus: Bus, fleet: Fleet, clocks: Clocks, patience: float
    ) -> None:
        self._agent_id, self._name = agent_id, name
        self._built, self._bus, self._fleet, self._clocks = built, bus, fleet, clocks
        self._patience = patience
        self.unserved = False
        """Whether a stage failed for want of an agent, and not by its component: worth another try later."""

    def run(self, stage: StageSpec, task: TaskTrace, inputs: AsyncIterator[Value]) -> AsyncGenerator[Value, None]:
        if (stage.kind, stage.component) in self._built:
            return self._here(stage, task, inputs)
        return self._there(stage, task, inputs)

    async def prepare(self, stage: StageSpec, messages: Sequence[Message]) -> None:
        """Only here: elsewhere it would take a slot that somebody may need."""
        if messages and (stage.kind, stage.component) in self._built:
            await self._built.prepare(stage, messages)

    async def load_voice(self, stage: StageSpec, voice: str) -> None:
        """Only here: which agent will speak is not known before it has to."""
        if (stage.kind, stage.component) in self._built:
            await self._built.load_voice(stage, voice)

    async def ending(self, stage: StageSpec, messages: Sequence[Message]) -> float | None:
        """Only here, too: a judgement that has to travel comes late."""
        if (stage.kind, stage.component) not in self._built:
            return None
        return await self._built.ending(stage, messages)

    def missing(self, stages: tuple[StageSpec, ...]) -> list[str]:
        """The components that neither this agent nor any other of the fleet offers, as `kind:name`."""
        return [
            stage.name
            for stage in stages
            if (stage.kind, stage.component) not in self._built and not self._fleet.find(stage.kind, stage.component)
        ]

    # ---- in this process -------------------------------------------------------------------------------------

    async def _here(
        self, stage: StageSpec, task: TaskTrace, inputs: AsyncIterator[Value]
    ) -> AsyncGenerator[Value, None]:
        attempt, timing = task.begin(self._name), StageTiming()
        try:
            async with aclosing(self._built.run(stage, inputs, timing, task.asked)) as outputs:
                async for value in outputs:
                    yield value
        except OpenOmniError as error:
            attempt.fail(str(error))
            raise
        finally:
            task.declined |= timing.declined
            _fill(attempt, timing)

    # ---- on another agent ------------------------------------------------------------------------------------

    async def _there(
        self, stage: StageSpec, task: TaskTrace, inputs: AsyncIterator[Value]
    ) -> AsyncGenerator[Value, None]:
        given = Flow()
        if (first := await anext(inputs, None)) is not None:
            given.put(first)
        reading = asyncio.create_task(_copy(inputs, given), name=f"inputs of {stage.name}")
        await asyncio.sleep(0)  # it finds out whether there is more: most stages have one input, that is here by now
        lost: dict[str, str] = {}
        call = _Call(self._bus, self._clocks, stage, task, given, reading)
        try:
            while True:
                agent = await self._choose(stage, lost)
                try:
                    async with aclosing(call.run(agent)) as outputs:
                        async for value in outputs:
                            yield value
                    return
                except AgentRefused:
                    continue
                except AgentLost as error:
                    lost[agent.agent_id] = str(error)
                    self._judge(stage, call, lost)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _judge(self, stage: StageSpec, call: _Call, lost: dict[str, str]) -> None:
        """Raises `StageError` when losing the last agent ends the task."""
        reason = list(lost.values())[-1]
        if not call.can_go_on:
            raise StageError(stage.name, f"{reason}, after part of its output was used") from None
        if len(lost) >= ATTEMPTS:
            self.unserved = True
            raise StageError(
                stage.name, f"{len(lost)} agents were lost while they ran it; the last: {reason}"
            ) from None

    async def _choose(self, stage: StageSpec, lost: dict[str, str]) -> Presence:
        """The agent with most room. Waits up to `patience` for one; raises `NoAgent`."""
        deadline = clock.now() + self._patience
        while True:
            offering = [
                agent
                for agent in self._fleet.find(stage.kind, stage.component)
                if agent.agent_id != self._agent_id and agent.agent_id not in lost
            ]
            if offering and offering[0].free:
                return offering[0]
            left = deadline - clock.now()
            if left <= 0:
                self.unserved = True
                raise NoAgent(_nobody(stage, offering, lost))
            try:
                async with asyncio.timeout(left):
                    await self._fleet.changed()
            except TimeoutError:
                continue


class _Call:
    """One stage run on other agents, one after another if need be."""

    def __init__(
        self, bus: Bus, clocks: Clocks, stage: StageSpec, task: TaskTrace, given: Flow, reading: asyncio.Task[None]
    ) -> None:
        self._bus, self._clocks = bus, clocks
        self._stage, self._task = stage, task
        self._given, self._reading = given, reading
        self._used = False
        self._consumed = 0
        """Inputs that outputs were passed on for."""

    @property
    def can_go_on(self) -> bool:
        """Whether another agent can take over from here."""
        return not self._used or (self._stage.kind == "tts" and self._consumed > 0)

    async def run(self, agent: Presence) -> AsyncGenerator[Value, None]:
        """One attempt. Raises AgentLost, AgentRefused (which leaves no attempt), StageError."""
        sent, first = clock.now(), self._consumed
        here = self._given.arrivals[first:]
        ready = here[0].value if here else None
        alone = len(here) == 1 and self._reading.done() and self._reading.exception() is None
        inputs = _Inputs(self._given, self._reading, first + (ready is not None))
        call = self._ask(agent)
        attempt: AttemptTrace | None = None
        arrived: float | None = None
        try:
            async with aclosing(
                call_stage(self._bus, agent.agent_id, call, inputs.values(), first=ready, alone=alone)
            ) as answers:  # type: ignore[type-var]
                async for answer in answers:
                    match answer:
                        case StageAccepted():
                            self._clocks.learn(agent.agent_id, sent, answer.at, clock.now())
                            attempt = self._begin(agent, sent)
                        case StageOutput():
                            if arrived is None and attempt is not None:
                                arrived = clock.now()
                                there = self._clocks.offset(agent.agent_id).to_local(answer.at)
                                attempt.transfer_out_s = max(arrived - there, 0.0)
                            if not isinstance(answer.value, Transcript) or answer.value.final:
                                self._used = True
                                if attempt is not None:
                                    attempt.first_output = attempt.first_output or clock.now() - attempt.transfer_out_s
                            self._consumed = max(self._consumed, first + answer.consumed if answer.consumed else 0)
                            yield _numbered(answer.value, first)
                        case StageDone() if attempt is not None:
                            self._task.declined |= answer.declined
                            first_sent = sent if ready else inputs.sent or sent
                            _fill_remote(attempt, answer, self._clocks.offset(agent.agent_id), first_sent)
                        case StageFailed():
                            raise StageError(self._stage.name, answer.reason.removeprefix(f"{self._stage.name}: "))
        except AgentRefused:
            raise
        except OpenOmniError as error:
            (attempt or self._begin(agent, sent)).fail(str(error), agent_lost=isinstance(error, AgentLost))
            raise

    def _ask(self, agent: Presence) -> StageCall:
        stage, call_id, asked = self._stage, uuid.uuid4().hex, self._task.asked
        # An agent of an earlier version says of no component what may be asked, and would not understand it.
        taken = agent.options.get(stage.name, ())
        self._task.declined = {name: f"{stage.name} takes no {name}" for name in asked if name not in taken}
        return StageCall(
            call_id=call_id,
            task_id=self._task.task_id,
            attempt=len(self._task.attempts) + 1,
            kind=stage.kind,
            component=stage.component,
            parameters=stage.parameters,
            inputs=subjects.call_input(agent.project, call_id),
            timeout=stage.framework.timeout,
            asked={name: value for name, value in asked.items() if name in taken},
        )

    def _begin(self, agent: Presence, sent: float) -> AttemptTrace:
        attempt = self._task.begin(agent.name)
        attempt.opened = attempt.claimed = sent
        return attempt


class _Inputs:
    """The inputs of an attempt, from number `first` on, and when the first of them was sent."""

    def __init__(self, given: Flow, reading: asyncio.Task[None], first: int) -> None:
        self._given, self._reading, self._first = given, reading, first
        self.sent: float | None = None

    async def values(self) -> AsyncGenerator[Value, None]:
        number = 0
        async for arrival in self._given:
            if number >= self._first:
                self.sent = self.sent or clock.now()
                yield arrival.value
            number += 1
        await self._reading


def _numbered(value: Value, first: int) -> Value:
    """A voice that goes on for another counts its clauses from its own first one."""
    if first and isinstance(value, Sound) and value.clause >= 0:
        return msgspec.structs.replace(value, clause=value.clause + first)
    return value


async def _copy(inputs: AsyncIterator[Value], given: Flow) -> None:
    """Keeps the inputs, so that another agent can be given them again."""
    try:
        async for value in inputs:
            given.put(value)
    finally:
        given.close()


def _fill(attempt: AttemptTrace, timing: StageTiming) -> None:
    """Stamps of a run in this process."""
    if timing.claimed is None and timing.load_started is None:
        return
    started, loaded = loading(timing)
    attempt.claimed, attempt.load_s = started, loaded - started
    attempt.received, attempt.model_started = timing.ready, timing.model_started
    attempt.first_output, attempt.ended = timing.first_output, timing.ended
    if timing.model_started is not None and timing.ended is not None:
        attempt.model_s = max(timing.ended - timing.model_started - timing.waited, 0.0)


def _fill_remote(attempt: AttemptTrace, done: StageDone, offset: Offset, sent: float) -> None:
    """Stamps of a run elsewhere, mapped to our clock. Waiting for a slot there counts as queue, before the way."""
    attempt.received = max(offset.to_local(done.received), sent)
    attempt.transfer_in_s = attempt.received - sent
    attempt.claimed = sent + max(done.started - done.received, 0.0)
    attempt.load_s = max(done.loaded - done.started, 0.0)
    attempt.ended = offset.to_local(done.ended)
    if done.first_output is not None:
        attempt.first_output = offset.to_local(done.first_output)
    if done.model_started is not None:
        attempt.model_started = offset.to_local(done.model_started)
        attempt.model_s = max(done.ended - done.model_started - done.waited, 0.0)


def _nobody(stage: StageSpec, offering: list[Presence], lost: dict[str, str]) -> str:
    if offering:
        return f"every agent that offers {stage.name} is busy ({', '.join(agent.name for agent in offering)})"
    if lost:
        return f"no other agent offers {stage.name}; {list(lost.values())[-1]}"
    return f"no agent offers {stage.name}; start one: openomni agent --offer {stage.name}"
