"""One stage run on other agents, one after another if need be: what it is given, what comes back, and when."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from .. import clock
from ..bus import subjects
from ..bus.calls import AgentLost, AgentRefused, call_stage
from ..bus.connection import Bus
from ..bus.fleet import Presence
from ..clock import Offset, OffsetEstimator
from ..components.stage import StageError
from ..errors import OpenOmniError
from ..events import Sound, StageAccepted, StageCall, StageDone, StageFailed, StageOutput, Transcript, Value
from ..pipeline.channel import Flow
from ..pipeline.meter import Meter
from ..pipeline.spec import StageSpec
from ..pipeline.task import AttemptTrace, TaskTrace


class Clocks:
    """How far other agents' clocks are from ours: learned from the calls that are made anyway, and from what each knows
    of the gateway's, which is better where the call was slow to begin. `own`: what to add to a stamp of ours to get the
    gateway's."""

    def __init__(self, own: Callable[[], Offset | None] = lambda: None) -> None:
        self._own = own
        self._estimators: defaultdict[str, OffsetEstimator] = defaultdict(OffsetEstimator)
        self._theirs: dict[str, tuple[float, Offset]] = {}
        """By agent when it last said how far it is from the gateway, on our clock, and how far."""

    def learn(self, agent_id: str, sent: float, there: StageAccepted, received: float) -> None:
        self._estimators[agent_id].add(sent, there.at, there.at, received)
        if there.offset is not None:
            self._theirs[agent_id] = received, Offset(there.offset, there.uncertainty)

    def offset(self, agent_id: str) -> Offset:
        now = clock.now()
        called, by_gateway = self._estimators[agent_id].at(now), self._by_gateway(agent_id, now)
        if called is None or by_gateway is None or by_gateway.uncertainty >= called.uncertainty:
            return called or Offset()
        # Where the two contradict each other, one of us has told of another gateway's clock, or of one that jumped.
        agree = abs(by_gateway.seconds - called.seconds) <= by_gateway.uncertainty + called.uncertainty
        return by_gateway if agree else called

    def _by_gateway(self, agent_id: str, now: float) -> Offset | None:
        ours, (at, theirs) = self._own(), self._theirs.get(agent_id, (now, None))
        if ours is None or theirs is None:
            return None
        aged = theirs.uncertainty + clock.DRIFT * (now - at)
        return Offset(ours.seconds - theirs.seconds, ours.uncertainty + aged)


class RemoteRun:
    """Of one task; each `run` is an attempt on one agent."""

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
        call, meter = self._ask(agent), Meter()
        if ready is not None:
            meter.given(ready)
        attempt: AttemptTrace | None = None
        arrived: float | None = None
        try:
            async with aclosing(
                call_stage(self._bus, agent.agent_id, call, meter.counted(inputs.values()), first=ready, alone=alone)
            ) as answers:  # type: ignore[type-var]
                async for answer in answers:
                    match answer:
                        case StageAccepted():
                            self._clocks.learn(agent.agent_id, sent, answer, clock.now())
                            attempt = self._begin(agent, sent, meter)
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
            (attempt or self._begin(agent, sent, meter)).fail(str(error), agent_lost=isinstance(error, AgentLost))
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

    def _begin(self, agent: Presence, sent: float, meter: Meter) -> AttemptTrace:
        attempt = self._task.begin(agent.name)
        attempt.meter = meter
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


def _fill_remote(attempt: AttemptTrace, done: StageDone, offset: Offset, sent: float) -> None:
    """Stamps of a run elsewhere, mapped to our clock. Waiting for a slot there counts as queue, before the way."""
    attempt.build, attempt.seed = done.build, done.seed
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
