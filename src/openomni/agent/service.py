"""An agent at work: all that it does on the bus under one registration, from its first «here» to its goodbye."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from nats.aio.msg import Msg

from ..background import Background, troubles
from ..bus import subjects
from ..bus.calls import StageServer, serve_stages
from ..bus.clocksync import ClockSync
from ..bus.connection import Bus
from ..bus.fleet import Announcer, Fleet, Presence
from ..bus.leases import Leases
from ..bus.records import RecordWriter
from ..bus.sessions import serve_sessions
from ..errors import OpenOmniError
from ..storage.api import Api
from ..storage.spool import Spool
from ..storage.upload import Uploader
from ..version import __version__
from . import machine
from .calls import Calls
from .enrolment import Enrolment
from .folder import AgentFolder
from .health import AgentHealth
from .hosting import Hosting
from .measuring import Measuring
from .offers import AgentOffer
from .pool import ComponentPool
from .recordings import Recordings
from .references import References
from .remote_run import Clocks
from .reply_sound import ReplySounds
from .runner import LIVE_PATIENCE, QUEUED_PATIENCE, FleetRunner
from .stages import StageService
from .takeover import said_before
from .work import QueuedTurns

log = logging.getLogger(__name__)

UPLOAD_PATIENCE = 3.0
"""Seconds that an agent which stops waits for a server that is away; what is left is sent by the next one."""
MANY_RECORDS = 100


class NameTaken(OpenOmniError):
    """Another agent of that name is at work in the project."""


class AgentService:
    """`prepare`, `start`, then `close`; `drain` before that, to end in order."""

    def __init__(
        self,
        bus: Bus,
        enrolment: Enrolment,
        name: str,
        offer: AgentOffer,
        pool: ComponentPool,
        health: AgentHealth,
        api: Api,
        home: AgentFolder,
        asked_to_drain: Callable[[], None],
    ) -> None:
        self._bus, self._enrolment, self._name, self._offer = bus, enrolment, name, offer
        self._pool, self._health, self._api, self._home = pool, health, api, home
        self._asked_to_drain = asked_to_drain
        self._patient = api.patient(log.warning)
        self._recordings, self._references = Recordings(self._patient, home.recordings), References(self._patient)
        self._clock_sync = ClockSync(bus)
        self._clocks = Clocks(lambda: self._clock_sync.offset)
        self._exits = AsyncExitStack()
        self._claiming: list[Background] = []
        self._machine = machine.identity()

    async def prepare(self, warm: Callable[[], Awaitable[None]]) -> None:
        """Looks whether the name is free, and warms what is offered. Raises `NameTaken`, `OpenOmniError`."""
        project, agent_id = self._enrolment.project, self._enrolment.agent_id
        self._fleet = await self._exits.enter_async_context(Fleet(self._bus, project))
        await self._fleet.ready()
        if self._fleet.get(agent_id) is not None:
            raise NameTaken(
                f"an agent named {self._name} is at work in project {project}; give this one another --name"
            )
        await warm()

    async def start(self) -> None:
        """Serves; returns once the fleet knows."""
        project, agent_id, enter = self._enrolment.project, self._enrolment.agent_id, self._exits.enter_async_context
        self._writer = await enter(RecordWriter(self._bus, self._home.journal))
        self._pool.builds.tell_to(project, self._writer.write)
        self._uploader = await enter(Uploader(self._patient))
        self._replies = ReplySounds(Spool(self._home.spool, self._api.server, self._api.token), self._uploader)
        self._exits.callback(self._replies.close)
        self._replies.resume()
        await enter(self._clock_sync)
        await self._serve_drain(project, agent_id)
        service = StageService(agent_id, self._pool, self._health, lambda: self._clock_sync.offset)
        self._stages: StageServer = await serve_stages(self._bus, project, agent_id, service.run)
        self._exits.push_async_callback(self._stages.aclose)
        if self._offer.host:
            await self._host(project, agent_id)
        if self._offer.caller:
            await self._call(project, agent_id)
        announcer = await enter(Announcer(self._bus, self._presence))
        self._health.on_change = announcer.changed
        await self._bus.flush()

    async def drain(self, timeout: float) -> None:
        """Takes nothing new and waits up to `timeout` seconds for what runs, then for what is to be sent."""
        self._health.drain()
        await self._stop_claiming()
        try:
            async with asyncio.timeout(timeout):
                await self._health.until_idle()
        except TimeoutError:
            log.warning("still at work after %g s; what runs goes to other agents", timeout)

    async def close(self) -> None:
        """Ends what still runs, sends what is left, says goodbye."""
        self._health.on_change = lambda: None
        await self._exits.aclose()

    # ---- hosting ---------------------------------------------------------------------------------------------

    async def _host(self, project: str, agent_id: str) -> None:
        # Entered last, left first: what runs is stopped while its records and replies can still be sent.
        self._exits.push_async_callback(self._send_the_rest)
        hosting = Hosting(
            self._bus,
            agent_id,
            self._health,
            self._pool,
            self._replies,
            self._writer,
            self._clock_sync,
            lambda: self._runner(LIVE_PATIENCE),
            lambda opened: said_before(self._api, opened),
        )
        self._exits.push_async_callback(hosting.stop)
        questions = await serve_sessions(self._bus, project, agent_id, hosting.open)
        self._exits.push_async_callback(questions.aclose)
        turns = QueuedTurns(
            self._bus,
            project,
            self._health,
            self._pool,
            self._recordings,
            self._replies,
            self._writer,
            self._references,
            lambda: self._runner(QUEUED_PATIENCE),
            self._until_unmeasured,
        )
        self._exits.push_async_callback(turns.stop)
        self._claiming.append(Background(turns.claim, "claiming queued turns"))
        self._exits.push_async_callback(self._stop_claiming)

    async def _call(self, project: str, agent_id: str) -> None:
        """Plays people in the real-time cells of experiments."""
        measuring = Measuring(self._fleet, Leases(self._bus, project), project, agent_id, self._health.measures)
        calls = Calls(
            self._bus, project, self._name, self._patient, measuring,
            self._recordings, self._references, self._writer,
        )  # fmt: skip
        self._claiming.append(Background(calls.claim, "claiming real-time cells"))
        self._exits.push_async_callback(self._stop_claiming)

    async def _until_unmeasured(self) -> None:
        """Returns once nobody measures on this machine: queued work would be in the figures."""
        while any(self._machine in agent.leases for agent in self._fleet.agents):
            await self._fleet.changed()

    def _runner(self, patience: float) -> FleetRunner:
        return FleetRunner(
            self._enrolment.agent_id, self._name, self._pool, self._bus, self._fleet, self._clocks, patience
        )

    async def _stop_claiming(self) -> None:
        for claiming in self._claiming:
            await claiming.stop()

    async def _send_the_rest(self) -> None:
        await self._replies.settle()
        await self._uploader.drain(UPLOAD_PATIENCE)

    # ---- what the fleet hears --------------------------------------------------------------------------------

    async def _serve_drain(self, project: str, agent_id: str) -> None:
        async def asked(question: Msg) -> None:
            await self._bus.respond(question, b"draining")
            self._asked_to_drain()

        questions = await self._bus.subscribe(subjects.drain(project, agent_id), asked)
        self._exits.push_async_callback(questions.aclose)

    def _presence(self) -> Presence:
        waiting = self._writer.pending
        self._note("records", f"{waiting} records wait for the bus" if waiting > MANY_RECORDS else "")
        self._note("background", "; ".join(f"{name}: {reason}" for name, reason in troubles().items()))
        refused = self._uploader.refused
        self._note("replies", f"{len(refused)} replies were not uploaded: {refused[-1]}" if refused else "")
        return Presence(
            agent_id=self._enrolment.agent_id,
            name=self._name,
            project=self._enrolment.project,
            version=__version__,
            roles=self._offer.roles,
            components=[f"{kind}:{name}" for kind, name in self._offer.components],
            options=self._offer.options,
            slots=self._health.slots,
            busy=self._health.busy,
            sessions=self._health.sessions,
            draining=self._health.draining,
            health=self._health.summary,
            machine=self._machine,
            cells=list(self._health.cells),
            leases=self._health.leases,
        )

    def _note(self, about: str, text: str) -> None:
        self._health.complaints[about] = text
