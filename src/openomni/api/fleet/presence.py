"""Notes which agents are alive, from what they say on the bus every second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from django.db import Error, close_old_connections, connections, transaction
from django.utils import timezone

from ...bus.connection import Bus
from ...bus.fleet import EVERY, Fleet, Presence
from ..ground.loop_thread import LoopThread
from ..ground.statements import Statements
from .models import Agent

log = logging.getLogger("openomni.api.fleet")

_agents = Statements(Agent)
_SAID = ("roles", "slots", "busy", "sessions", "draining", "version")
"""Fields of an agent's row that are as it last said."""


def start(connect: Callable[[], Awaitable[Bus]]) -> Callable[[], None]:
    """Listens from now on, in a thread of its own; gives what stops it."""
    thread = LoopThread("fleet listener", lambda: _listen(connect))
    thread.start()
    return thread.stop


async def _listen(connect: Callable[[], Awaitable[Bus]]) -> None:
    loop = asyncio.get_running_loop()
    bus = await connect()
    here: set[str] = set()
    # One thread, for a database connection belongs to the thread that opened it.
    with ThreadPoolExecutor(1, "fleet-db") as database:
        try:
            async with Fleet(bus) as fleet:
                while True:
                    try:
                        async with asyncio.timeout(EVERY):
                            await fleet.changed()
                    except TimeoutError:
                        pass
                    # While the bus is away nobody can be heard, and the fleet only remembers.
                    if bus.connected.is_set():
                        agents = fleet.agents
                        left = here - {agent.agent_id for agent in agents}
                        here = {agent.agent_id for agent in agents}
                        await loop.run_in_executor(database, note, agents, left)
        finally:
            await loop.run_in_executor(database, connections.close_all)
            await bus.close()


def note(agents: Iterable[Presence], left: Iterable[str] = ()) -> None:
    """Writes who is here now, and who has left: they take no work any more. A database that is away is logged."""
    close_old_connections()
    try:
        with transaction.atomic():
            for agent in agents:
                said = {name: getattr(agent, name) for name in _SAID}
                said |= {"last_seen": timezone.now(), "health": agent.health[:500]}
                # An agent speaks for itself in its own project only; its credentials see to that, and so do we.
                _agents.update(said, id=agent.agent_id, project_id=agent.project)
            if gone := set(left):
                _agents.update({"draining": True}, id=gone)
    except Error as error:
        log.warning("could not note which agents are alive: %s", error)
