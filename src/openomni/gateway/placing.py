"""Which agent hosts a session: one that can do the whole pipeline itself, else the least loaded; refused, the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from .. import clock
from ..bus import subjects
from ..bus.connection import Bus, BusError
from ..bus.fleet import Fleet, Presence
from ..bus.sessions import OpenSession, SessionLink, gateway_end, open_session
from ..errors import OpenOmniError
from ..events import SessionClose, SessionInput, SessionOutput

Link = SessionLink[SessionInput, SessionOutput]
Needs = Sequence[tuple[str, str]]
"""(kind, component) of every stage."""

ASK_PATIENCE = 0.5
"""Seconds that agents are given to answer «who is there», when what a pipeline needs was not heard of."""
RETRY_EVERY = 1.0


class NoHost(OpenOmniError):
    """Nobody offers what the pipeline needs, or nobody takes the session; the message says what."""


class HostPlacing:
    """Chooses hosts among the agents of a project."""

    def __init__(self, bus: Bus, fleet: Fleet) -> None:
        self._bus, self._fleet = bus, fleet

    def gone(self, agent_id: str) -> bool:
        """Whether an agent left, or was not heard for too long."""
        return self._fleet.get(agent_id) is None

    async def changed(self) -> None:
        """Waits until an agent comes, goes or changes."""
        await self._fleet.changed()

    async def missing(self, project: str, needs: Needs) -> list[str]:
        """What nobody offers, as `host` and `kind:component`; agents that are there have been asked."""
        found = self._missing(project, needs)
        if found:
            await self._bus.publish(subjects.who(project))
        deadline = clock.now() + ASK_PATIENCE
        while found and await _within(deadline - clock.now(), self._fleet.changed):
            found = self._missing(project, needs)
        return found

    async def place(self, opening: OpenSession, needs: Needs, wait: bool, avoid: str = "") -> tuple[str, Link]:
        """Has an agent open the session; gives its id and our end of the link. Raises NoAgent unless told to `wait`."""
        while True:
            missing = await self.missing(opening.project, needs)
            refusals: dict[str, str] = {}
            for host in [] if missing else candidates(self._fleet.hosts(opening.project), needs, avoid):
                link: Link = gateway_end(self._bus, opening)
                try:
                    await link.__aenter__()
                    await open_session(self._bus, host.agent_id, opening)
                except BusError as error:
                    await link.aclose()
                    refusals[host.name] = str(error)
                except BaseException:
                    # Given up half-way: the host may have opened it just now.
                    await link.send(SessionClose())
                    await link.aclose()
                    raise
                else:
                    return host.agent_id, link
            if not wait:
                raise NoHost(no_agent_line(opening.pipeline, missing) if missing else _refused_line(refusals))
            await _within(RETRY_EVERY, self._fleet.changed)

    def _missing(self, project: str, needs: Needs) -> list[str]:
        absent = [] if self._fleet.hosts(project) else ["host"]
        return absent + [f"{kind}:{name}" for kind, name in needs if not self._fleet.find(kind, name, project)]


def candidates(hosts: Sequence[Presence], needs: Needs, avoid: str = "") -> list[Presence]:
    """Hosts in the order in which to ask them."""

    def rank(host: Presence) -> tuple[bool, bool, int, float, int]:
        elsewhere = sum(not host.offers(kind, name) for kind, name in needs)
        load = host.busy / max(host.slots, 1)
        return host.agent_id == avoid, bool(host.health), elsewhere, load, host.sessions

    return sorted(hosts, key=rank)


def no_agent_line(pipeline: str, missing: Sequence[str]) -> str:
    return (
        f"no agent offers {', '.join(missing)}, which the pipeline {pipeline!r} needs; "
        f"start one with: openomni agent --offer {','.join(missing)}"
    )


def _refused_line(refusals: dict[str, str]) -> str:
    said = "; ".join(f"{name}: {reason}" for name, reason in refusals.items()) or "there is no host"
    return f"no agent takes the session ({said}); try again, or start another agent"


async def _within(seconds: float, wait: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            await wait()
    except TimeoutError:
        return False
    return True
