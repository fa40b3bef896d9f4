"""Runs the stages of a turn: here when this agent has the component, else by a live call to an agent that does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from .. import clock
from ..background import ended
from ..bus.calls import AgentLost, AgentRefused
from ..bus.connection import Bus
from ..bus.fleet import Fleet, Presence
from ..components.stage import StageError, StageTiming
from ..errors import OpenOmniError
from ..events import Message, Value
from ..pipeline.channel import Flow
from ..pipeline.spec import StageSpec
from ..pipeline.task import AttemptTrace, TaskTrace
from .pool import ComponentPool, loading
from .remote_run import Clocks, RemoteRun

ATTEMPTS = 3
LIVE_PATIENCE = 5.0
"""Seconds that a stage of a live turn waits for an agent with room."""
QUEUED_PATIENCE = 30.0


class NoAgent(OpenOmniError):
    """No agent runs the stage now; later one may."""


class FleetRunner:
    """A `pipeline.turn.StageRunner`. `patience`: seconds to wait for an agent that has room.

    An agent that is lost in mid-call has its stage run again elsewhere, from its first input, unless some of its
    output is in use already: then a voice goes on with the first clause that nobody has begun to hear, and a language
    model fails, for it would not go on with the same sentence.
    """

    def __init__(
        self, agent_id: str, name: str, pool: ComponentPool, bus: Bus, fleet: Fleet, clocks: Clocks, patience: float
    ) -> None:
        self._agent_id, self._name = agent_id, name
        self._pool, self._bus, self._fleet, self._clocks = pool, bus, fleet, clocks
        self._patience = patience
        self.unserved = False
        """Whether a stage failed for want of an agent, and not by its component: worth another try later."""

    def run(self, stage: StageSpec, task: TaskTrace, inputs: AsyncIterator[Value]) -> AsyncGenerator[Value, None]:
        if (stage.kind, stage.component) in self._pool:
            return self._here(stage, task, inputs)
        return self._there(stage, task, inputs)

    async def prepare(self, stage: StageSpec, messages: Sequence[Message]) -> None:
        """Only here: elsewhere it would take a slot that somebody may need."""
        if messages and (stage.kind, stage.component) in self._pool:
            await self._pool.prepare(stage, messages)

    async def load_voice(self, stage: StageSpec, voice: str) -> None:
        """Only here: which agent will speak is not known before it has to."""
        if (stage.kind, stage.component) in self._pool:
            await self._pool.load_voice(stage, voice)

    async def ending(self, stage: StageSpec, messages: Sequence[Message]) -> float | None:
        """Only here, too: a judgement that has to travel comes late."""
        if (stage.kind, stage.component) not in self._pool:
            return None
        return await self._pool.ending(stage, messages)

    def missing(self, stages: tuple[StageSpec, ...]) -> list[str]:
        """The components that neither this agent nor any other of the fleet offers, as `kind:name`."""
        return [
            stage.name
            for stage in stages
            if (stage.kind, stage.component) not in self._pool and not self._fleet.find(stage.kind, stage.component)
        ]

    # ---- in this process -------------------------------------------------------------------------------------

    async def _here(
        self, stage: StageSpec, task: TaskTrace, inputs: AsyncIterator[Value]
    ) -> AsyncGenerator[Value, None]:
        attempt, timing = task.begin(self._name), StageTiming()
        try:
            given = attempt.meter.counted(inputs)
            async with aclosing(self._pool.run(stage, given, timing, task.asked)) as outputs:
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
        call = RemoteRun(self._bus, self._clocks, stage, task, given, reading)
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
            await ended(reading)

    def _judge(self, stage: StageSpec, call: RemoteRun, lost: dict[str, str]) -> None:
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


async def _copy(inputs: AsyncIterator[Value], given: Flow) -> None:
    """Keeps the inputs, so that another agent can be given them again."""
    try:
        async for value in inputs:
            given.put(value)
    finally:
        given.close()


def _fill(attempt: AttemptTrace, timing: StageTiming) -> None:
    """Stamps of a run in this process, and what it ran on."""
    attempt.build, attempt.seed = timing.build, timing.seed
    if timing.claimed is None and timing.load_started is None:
        return
    started, loaded = loading(timing)
    attempt.claimed, attempt.load_s = started, loaded - started
    attempt.received, attempt.model_started = timing.ready, timing.model_started
    attempt.first_output, attempt.ended = timing.first_output, timing.ended
    if timing.model_started is not None and timing.ended is not None:
        attempt.model_s = max(timing.ended - timing.model_started - timing.waited, 0.0)


def _nobody(stage: StageSpec, offering: list[Presence], lost: dict[str, str]) -> str:
    if offering:
        return f"every agent that offers {stage.name} is busy ({', '.join(agent.name for agent in offering)})"
    if lost:
        return f"no other agent offers {stage.name}; {list(lost.values())[-1]}"
    return f"no agent offers {stage.name}; start one: openomni agent --offer {stage.name}"
