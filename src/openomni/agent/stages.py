"""Serves live calls: runs a stage for a host elsewhere, with what this agent has built."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from .. import clock
from ..clock import Offset
from ..components.stage import StageTiming
from ..events import StageAccepted, StageAnswer, StageCall, StageDone, StageOutput, StageRefused, Value
from ..pipeline.spec import Framework, StageSpec
from .health import AgentHealth, Busy
from .pool import ComponentPool, loading


class StageService:
    """What `bus.calls.serve_stages` runs: one call in one slot of the agent, or a refusal with the reason."""

    def __init__(
        self,
        agent: str,
        pool: ComponentPool,
        health: AgentHealth,
        to_gateway: Callable[[], Offset | None] = lambda: None,
    ) -> None:
        self._agent = agent
        self._pool = pool
        self._health = health
        self._to_gateway = to_gateway

    async def run(self, call: StageCall, inputs: AsyncIterator[Value]) -> AsyncGenerator[StageAnswer, None]:
        if (call.kind, call.component) not in self._pool:
            yield StageRefused(self._agent, f"it does not offer {call.kind}:{call.component}")
            return
        try:
            with self._health.hold("call"):
                yield self._accepted()
                async with aclosing(self._outputs(call, inputs)) as answers:
                    async for answer in answers:
                        yield answer
        except Busy as busy:
            yield StageRefused(self._agent, str(busy))

    def _accepted(self) -> StageAccepted:
        offset = self._to_gateway()
        if offset is None:
            return StageAccepted(self._agent, clock.now())
        return StageAccepted(self._agent, clock.now(), offset.seconds, offset.uncertainty)

    async def _outputs(self, call: StageCall, inputs: AsyncIterator[Value]) -> AsyncGenerator[StageAnswer, None]:
        stage = StageSpec(call.kind, call.component, call.parameters, Framework(timeout=call.timeout))
        timing, given = StageTiming(), _Stamped(inputs)
        count = 0
        async with aclosing(self._pool.run(stage, given, timing, call.asked)) as values:
            async for value in values:
                yield StageOutput(count, clock.now(), value, bisect_right(timing.calls, count))
                count += 1
        yield _done(count, timing, given.received)


class _Stamped:
    """Inputs, and when the first of them was here."""

    def __init__(self, inputs: AsyncIterator[Value]) -> None:
        self._inputs = inputs
        self.received: float | None = None

    def __aiter__(self) -> _Stamped:
        return self

    async def __anext__(self) -> Value:
        value = await anext(self._inputs)
        if self.received is None:
            self.received = clock.now()
        return value


def _done(count: int, timing: StageTiming, received: float | None) -> StageDone:
    started, loaded = loading(timing)
    return StageDone(
        count=count,
        received=received or started,
        started=started,
        loaded=loaded,
        first_output=timing.first_output,
        ended=timing.ended or clock.now(),
        model_started=timing.model_started,
        waited=timing.waited,
        declined=timing.declined,
        build=timing.build,
        seed=timing.seed,
    )
