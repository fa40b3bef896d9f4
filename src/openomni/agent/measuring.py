"""Machines to measure on: whose they are, when nobody else needs them, and whether somebody came in between.

People come first: their conversations begin whenever they like, on a machine that is measured on, too. What waits for
them is the measurement; what waits for the measurement is other measurements, and work that can wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable

from .. import clock
from ..bus.fleet import Fleet, Presence
from ..bus.leases import Leases, LeasesHeld
from ..errors import OpenOmniError
from ..pipeline.spec import Pipeline

log = logging.getLogger(__name__)

SERVED_S = 60.0
"""How long agents that a pipeline needs, and that are not there, are waited for."""
QUIET_S = 60.0
"""How long what had begun on the machines before they were leased may take to its end."""
SETTLES_S = 0.2
"""Until everybody has heard that the machines are leased."""
WAIT_S = 1.0
"""How often it is looked again, whatever was heard of the fleet."""


class Unserved(OpenOmniError):
    """No agent that is there offers what a pipeline needs."""


class Measuring:
    """Of one agent. `leased` is told which machines it holds, for the fleet to know."""

    def __init__(
        self, fleet: Fleet, leases: Leases, project: str, agent_id: str, leased: Callable[[list[str]], None]
    ) -> None:
        self._fleet, self._leases, self._project, self._agent_id = fleet, leases, project, agent_id
        self._leased = leased

    @contextlib.asynccontextmanager
    async def alone(self, pipeline: Pipeline) -> AsyncIterator[LeasesHeld]:
        """Waits until no person talks on a machine of the pipeline's agents and nobody else measures there, then holds
        them. Raises `Unserved`."""
        while True:
            machines = await self._serving(pipeline)
            while self.people(machines):
                await self._news()
            async with self._leases.hold(machines, self._agent_id) as held:
                if machines != machines_of(self._fleet.agents, pipeline) or self.people(machines):
                    continue
                self._leased(held.machines)
                try:
                    await self._quiet(machines)
                    if not held.lost.is_set() and not self.people(machines):
                        yield held
                        return
                finally:
                    self._leased([])

    async def disturbed(self, held: LeasesHeld) -> str:
        """Returns why what is measured on these machines does not count, as soon as it does not."""
        while True:
            if reason := self.people(held.machines):
                return reason
            if held.lost.is_set():
                return "its lease on the machines ran out; is the bus slow, or this machine overloaded?"
            news = asyncio.ensure_future(self._fleet.changed())
            lost = asyncio.ensure_future(held.lost.wait())
            try:
                await asyncio.wait({news, lost}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                news.cancel()
                lost.cancel()

    def people(self, machines: Iterable[str]) -> str:
        """Who talks on one of these machines, for people; empty when nobody does."""
        there = set(machines)
        talking = [agent.name for agent in self._fleet.agents if _machine(agent) in there and agent.people]
        return f"somebody talked to {' and '.join(talking)} meanwhile" if talking else ""

    async def _serving(self, pipeline: Pipeline) -> set[str]:
        deadline = clock.now() + SERVED_S
        while missing := self._missing(pipeline):
            if clock.now() > deadline:
                raise Unserved(
                    f"no agent offers {', '.join(missing)}, which the pipeline {pipeline.name!r} needs; start one: "
                    f"openomni agent --offer {','.join(missing)}"
                )
            await self._news()
        return machines_of(self._fleet.agents, pipeline)

    def _missing(self, pipeline: Pipeline) -> list[str]:
        hosts = [] if self._fleet.hosts(self._project) else ["host"]
        return hosts + [f"{kind}:{name}" for kind, name in pipeline.needs if not self._fleet.find(kind, name)]

    async def _quiet(self, machines: set[str]) -> None:
        await asyncio.sleep(SETTLES_S)
        deadline = clock.now() + QUIET_S
        while any(_machine(agent) in machines and agent.busy for agent in self._fleet.agents):
            if clock.now() > deadline:
                log.warning("work that began before goes on beside a measurement; it was waited for %g s", QUIET_S)
                return
            await self._news()

    async def _news(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                await self._fleet.changed()


def machines_of(agents: Iterable[Presence], pipeline: Pipeline) -> set[str]:
    """Those of all agents that may serve a session of the pipeline: the gateway may choose any of them."""
    return {_machine(agent) for agent in agents if not agent.draining and _serves(agent, pipeline)}


def _serves(agent: Presence, pipeline: Pipeline) -> bool:
    return "host" in agent.roles or any(agent.offers(kind, name) for kind, name in pipeline.needs)


def _machine(agent: Presence) -> str:
    """One of an earlier version does not say where it runs: it is taken for alone there."""
    return agent.machine or agent.agent_id
