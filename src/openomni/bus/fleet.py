"""Who is there: agents say so every second, and whoever asks gets an answer at once.

An `Announcer` speaks for an agent; a `Fleet` is the view of the gateway, the API and the hosts. An agent is alive when
it was heard within `ALIVE` seconds and has not said goodbye.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Self

import msgspec
from nats.aio.msg import Msg

from .. import clock
from ..background import Background
from ..version import __version__, too_old, upgrade_line
from . import subjects
from .connection import Bus, BusError

log = logging.getLogger(__name__)

EVERY = 1.0
ALIVE = 3.5
SETTLES = 0.015
"""Seconds that a change is left to settle before it is said: each saying wakes every host and agent of the project, and
a call that has just come needs the processor more. Who asks a full agent meanwhile is refused, and asks another."""


class OfferedComponent(msgspec.Struct, kw_only=True):
    """A component as an agent offers it; `schema` is the JSON Schema of its parameters."""

    kind: str
    name: str
    version: str = ""
    package: str = ""
    schema: dict[str, Any] = {}
    description: str = ""
    streaming: bool = False
    slots: int = 1


class Presence(msgspec.Struct, kw_only=True):
    """What an agent says: `at` is its own clock, `components` are `kind:name`, `health` is empty when well; `options`
    are what may be asked of one call of a component."""

    agent_id: str
    name: str
    project: str
    version: str = ""
    at: float = 0.0
    roles: list[str] = []
    components: list[str] = []
    options: dict[str, list[str]] = {}
    slots: int = 1
    busy: int = 0
    sessions: int = 0
    draining: bool = False
    health: str = ""
    machine: str = ""
    """What it shares with the agents of the same machine, and with no other."""
    cells: list[str] = []
    """Those of an experiment that its sessions are of, one each; the other sessions are people's."""
    leases: list[str] = []
    """Machines that it measures on as a caller: what can wait does not begin there."""

    @property
    def people(self) -> int:
        """Sessions of people, and of whatever else is no real-time cell."""
        return max(self.sessions - len(self.cells), 0)

    @property
    def free(self) -> int:
        return max(self.slots - self.busy, 0)

    def offers(self, kind: str, component: str = "") -> bool:
        """Whether it offers `kind:component`, or any component of the kind."""
        if component:
            return f"{kind}:{component}" in self.components
        return any(offer.partition(":")[0] == kind for offer in self.components)


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Presence)
_GOODBYE = b""


class Announcer:
    """`async with Announcer(bus, presence):` says «here» every second, soon after `changed()`, and when asked, and says
    goodbye."""

    def __init__(self, bus: Bus, presence: Callable[[], Presence], every: float = EVERY) -> None:
        self._bus = bus
        self._presence = presence
        self._every = every
        self._change = asyncio.Event()
        self._task: Background | None = None

    def changed(self) -> None:
        """Says it soon, with what else changes meanwhile."""
        self._change.set()

    async def __aenter__(self) -> Self:
        project = self._presence().project
        self._questions = [
            await self._bus.subscribe(question, self._asked) for question in (subjects.who(project), subjects.WHO)
        ]
        await self._say()
        self._task = Background(self._announce, "saying that this agent is there", longest=2.0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task:
            await self._task.stop()
        for questions in self._questions:
            await questions.aclose()
        presence = self._presence()
        # Without a bus there is nobody to say goodbye to; the others notice the silence.
        with contextlib.suppress(BusError):
            await self._bus.publish(subjects.here(presence.project, presence.agent_id), _GOODBYE)

    async def _asked(self, _question: Msg) -> None:
        self.changed()

    async def _say(self) -> None:
        presence = msgspec.structs.replace(self._presence(), at=clock.now(), version=__version__)
        await self._bus.publish(subjects.here(presence.project, presence.agent_id), _encode(presence))

    async def _announce(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._change.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(SETTLES)
            self._change.clear()
            # Stale news would pile up in the outgoing buffer during an outage.
            if self._bus.connected.is_set():
                await self._say()


class Fleet:
    """`async with Fleet(bus, project) as fleet:` knows the agents of a project; `*`: of all (role `server` only)."""

    def __init__(self, bus: Bus, project: str = "*", alive: float = ALIVE) -> None:
        self._bus = bus
        self._project = project
        self._alive = alive
        self._agents: dict[tuple[str, str], Presence] = {}
        self._heard: dict[tuple[str, str], float] = {}
        self._too_old: dict[tuple[str, str], str] = {}
        """Who is of a version that can't be worked with, and was told so."""
        self._change = asyncio.Event()
        self._reconnects = bus.reconnects
        self._task: Background | None = None

    async def __aenter__(self) -> Self:
        self._presences = await self._bus.subscribe(subjects.here(self._project, subjects.ANY), self._here)
        await self._ask()
        self._task = Background(self._watch, "watching which agents are there", longest=2.0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task:
            await self._task.stop()
        await self._presences.aclose()

    async def ready(self, quiet: float = 0.1, timeout: float = 1.5) -> Self:
        """Returns when those who are there have answered: nothing new for `quiet` seconds."""
        deadline = clock.now() + timeout
        while clock.now() < deadline and await self._changes_within(quiet):
            pass
        return self

    async def changed(self) -> None:
        """Waits until an agent comes, goes or changes."""
        await self._change.wait()

    @property
    def agents(self) -> list[Presence]:
        """All that are alive, draining ones too, in the order in which they came."""
        return list(self._agents.values())

    def get(self, agent_id: str) -> Presence | None:
        """None when it is gone."""
        return next((agent for (_, known), agent in self._agents.items() if known == agent_id), None)

    def find(self, kind: str, component: str = "", project: str = "") -> list[Presence]:
        """Those that take work of a component (of the kind, when none is named), most free slots first."""
        return self._takers(project, lambda agent: agent.offers(kind, component))

    def hosts(self, project: str = "") -> list[Presence]:
        """Those that host sessions, most free slots first."""
        return self._takers(project, lambda agent: "host" in agent.roles)

    def _takers(self, project: str, fits: Callable[[Presence], bool]) -> list[Presence]:
        takers = [
            agent
            for agent in self._agents.values()
            if fits(agent) and not agent.draining and (not project or agent.project == project)
        ]
        return sorted(takers, key=lambda agent: (-agent.free, agent.sessions))

    async def _ask(self) -> None:
        await self._bus.publish(subjects.WHO if self._project == "*" else subjects.who(self._project))

    async def _here(self, message: Msg) -> None:
        _, project, _, _, agent_id = message.subject.split(".")
        key = project, agent_id
        if message.data == _GOODBYE:
            if self._agents.pop(key, None):
                self._tell()
            return
        try:
            presence = _decoder.decode(message.data)
        except msgspec.MsgspecError as error:
            log.warning("agent %s of %s speaks another version of the bus (%s); upgrade it", agent_id, project, error)
            return
        # The subject is what its credentials allow; what it writes about itself must agree.
        if (presence.project, presence.agent_id) != key:
            log.warning("agent %s of %s calls itself %s of %s", agent_id, project, presence.agent_id, presence.project)
            return
        if presence.version and too_old(presence.version):
            if self._too_old.get(key) != presence.version:
                log.error("%s", upgrade_line(presence.version, f"agent {presence.name or agent_id}", "this side"))
            self._too_old[key] = presence.version
            return
        self._heard[key] = clock.now()
        before = self._agents.get(key)
        self._agents[key] = presence
        if before is None or msgspec.structs.replace(before, at=presence.at) != presence:
            self._tell()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._alive / 10)
            now = clock.now()
            if not self._bus.connected.is_set():
                # Nobody can be heard: that says nothing about them.
                self._heard = dict.fromkeys(self._heard, now)
            elif self._bus.reconnects != self._reconnects:
                self._reconnects = self._bus.reconnects
                self._heard = dict.fromkeys(self._heard, now)
                await self._ask()
            silent = [key for key in self._agents if now - self._heard[key] > self._alive]
            for key in silent:
                log.warning("agent %s of %s is gone: not heard for %.1f s", key[1], key[0], self._alive)
                del self._agents[key], self._heard[key]
            if silent:
                self._tell()

    def _tell(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def _changes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._change.wait()
            return True
        except TimeoutError:
            return False
