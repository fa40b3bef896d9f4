"""The worker process: registers, warms what it offers, serves, and comes back by itself when something was away."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .. import clock
from ..bus.connection import Bus, BusError, connect
from ..bus.credentials import Credentials, Keys
from ..bus.fleet import OfferedComponent
from ..errors import OpenOmniError
from ..pipeline import spec
from ..pipeline.spec import Pipeline
from ..storage.api import Api, Unreachable, delays, headers
from ..version import __version__
from . import enrolment, machine
from .enrolment import Enrolment, UnknownAgent
from .folder import AgentFolder
from .health import AgentHealth
from .offers import AgentOffer, resolve
from .pool import ComponentPool
from .service import AgentService

log = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_PIPELINE = "local"
BUS_PATIENCE = 3.0
"""Seconds for each address of the bus before the next one is tried."""


@dataclass(frozen=True)
class AgentSettings:
    """How an agent is started. `slots` None: by this machine's cores; `warm`: pipelines that are ready from the
    start, by name or file."""

    server: str
    token: str
    offer: str = "all"
    slots: int | None = None
    name: str = ""
    data_dir: Path | None = None
    warm: tuple[str, ...] = ()
    drain_timeout: float = 30.0
    ready_file: Path | None = None
    wait_for_server: float = 3.0
    """Seconds that a server has to answer the first time: it may be starting at this very moment, too."""


async def work(settings: AgentSettings) -> None:
    """Works until SIGTERM, SIGINT or a drain from the server. Raises `OpenOmniError` when it can't even begin."""
    offer = resolve(settings.offer)
    home = AgentFolder.claim(settings.data_dir)
    try:
        async with Api(settings.server, settings.token) as api:
            worker = Worker(settings, offer, home, api)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, worker.stop)
            try:
                await worker.run()
            finally:
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.remove_signal_handler(number)
    finally:
        home.close()


class Worker:
    """One agent's life, over as many registrations as it takes."""

    def __init__(self, settings: AgentSettings, offer: AgentOffer, home: AgentFolder, api: Api) -> None:
        self._settings, self._offer, self._home, self._api = settings, offer, home, api
        self._name = settings.name or home.name
        self._keys = Keys.create()
        cores = machine.cores()
        slots = settings.slots or max(4, cores)
        self._health = AgentHealth(slots, max(1, slots - 1 if settings.slots else cores // 2))
        self._pool = ComponentPool(offer.components, self._health.changed)
        self._health.stuck = lambda: self._pool.stuck
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._forgotten = asyncio.Event()
        self._warming: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Drains and ends; asked a second time, does not wait for what runs."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self) -> None:
        if self._knows_what_to_warm:
            self._warming = asyncio.create_task(self._warm(), name="warm")
        try:
            enrolled: Enrolment | None = await self._enrol(first=True)
            while enrolled is not None and not self._stopping.is_set():
                self._forgotten.clear()
                await self._serve(enrolled)
                if not self._stopping.is_set():
                    log.warning("the server does not know this agent any more; registering again")
                    enrolled = await self._unless_stopped(self._enrol(first=False))
        finally:
            if self._warming is not None:
                self._warming.cancel()
                await asyncio.gather(self._warming, return_exceptions=True)
            await self._pool.close()

    # ---- registering -----------------------------------------------------------------------------------------

    async def _enrol(self, first: bool) -> Enrolment:
        """The first time a server that stays away ends the agent with its reason; later it is waited for."""
        began = clock.now()
        for wait in delays():
            try:
                # In a thread: what a driver is asked may take seconds, and nothing else waits for it.
                description = await asyncio.to_thread(self._description)
                return await enrolment.register(self._api, description)
            except Unreachable as error:
                if first and clock.now() - began > self._settings.wait_for_server:
                    raise
                log.warning("%s; trying again in %.1f s", error, wait)
            await asyncio.sleep(wait)
        raise AssertionError("the delays never end")

    def _description(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "machine": msgspec.to_builtins(machine.describe()),
            "accelerators": msgspec.to_builtins(machine.accelerators()),
            "components": [
                msgspec.to_builtins(
                    OfferedComponent(
                        kind=info.kind,
                        name=name,
                        version=info.version,
                        package=info.package,
                        schema=info.schema,
                        description=info.description,
                        streaming=info.streaming,
                        slots=info.slots,
                    )
                )
                for (_, name), info in self._offer.components.items()
            ],
            "roles": self._offer.roles,
            "slots": self._health.slots,
            "version": __version__,
            "public_key": self._keys.public,
        }

    # ---- serving ---------------------------------------------------------------------------------------------

    async def _serve(self, enrolled: Enrolment) -> None:
        """Returns when the agent is to stop, drained, or when the server has forgotten it."""
        bus = await self._unless_stopped(self._connect(enrolled))
        if bus is None:
            return
        service = AgentService(
            bus, enrolled, self._name, self._offer, self._pool, self._health, self._api, self._home, self.stop
        )
        try:
            await self._unless_stopped(service.prepare(self._until_warm))
            if not self._stopping.is_set():
                await service.start()
                self._announce(enrolled)
                await self._unless_stopped(self._forgotten.wait())
            if self._stopping.is_set():
                log.info("draining")
                drained = asyncio.create_task(service.drain(self._settings.drain_timeout))
                await _first(drained, asyncio.create_task(self._hurry.wait()))
        finally:
            await service.close()
            await bus.close()

    async def _connect(self, enrolled: Enrolment) -> Bus | None:
        """To the first address of the bus that takes us, for as long as it needs; None when we must register again."""
        fresh: list[Credentials] = [enrolled.bus]

        async def renew() -> Credentials:
            if fresh:
                return fresh.pop()
            try:
                return await enrolment.renew(self._api, enrolled.agent_id, self._keys.public)
            except UnknownAgent:
                self._forgotten.set()
                raise

        for wait in delays():
            for url in enrolled.bus.urls:
                try:
                    shown = headers(self._api.token)
                    return await connect(url, renew, self._keys, self._name, timeout=BUS_PATIENCE, headers=shown)
                except BusError as error:
                    log.warning("%s", error)
            if self._forgotten.is_set():
                return None
            await asyncio.sleep(wait)
        raise AssertionError("the delays never end")

    def _announce(self, enrolled: Enrolment) -> None:
        offered = [f"{kind}:{name}" for kind, name in self._offer.components]
        log.info("%s is ready: %s", self._name, ", ".join([*self._offer.roles, *offered]))
        if self._settings.ready_file is not None:
            ready = {"agent_id": enrolled.agent_id, "name": self._name, "project": enrolled.project, "offers": offered}
            path = self._settings.ready_file
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.part")
            part.write_bytes(msgspec.json.encode(ready))
            part.replace(path)

    # ---- warming ---------------------------------------------------------------------------------------------

    @property
    def _knows_what_to_warm(self) -> bool:
        """Without the server, so that it may be done while that starts."""
        return all(name in spec.builtin() or _is_file(name) for name in self._settings.warm)

    async def _until_warm(self) -> None:
        """Once in its life. Raises `OpenOmniError`."""
        self._warming = self._warming or asyncio.create_task(self._warm(), name="warm")
        await asyncio.shield(self._warming)

    async def _warm(self) -> None:
        """Builds what the pipelines to be warmed need of this agent."""
        if self._settings.warm:
            for name in self._settings.warm:
                await self._warm_pipeline(await self._pipeline(name))
        elif self._offer.covers(default := spec.builtin()[DEFAULT_PIPELINE]):
            try:
                await self._warm_pipeline(default)
            except OpenOmniError as error:
                # Nobody asked for this pipeline by name: what else is offered may well work.
                log.error("%s", error)
                self._health.complaints["warm"] = str(error)

    async def _warm_pipeline(self, pipeline: Pipeline) -> None:
        for stage in pipeline.stages:
            if (stage.kind, stage.component) in self._pool:
                log.info("warmed %s in %.1f s", stage.name, await self._pool.warm(stage))
        if self._offer.host:
            await self._pool.turn_taking.detector(pipeline.turn_taking.vad)
            if pipeline.turn_taking.judge:
                await self._pool.turn_taking.judge(pipeline.turn_taking.judge)

    async def _pipeline(self, name: str) -> Pipeline:
        builtin = spec.builtin()
        if name in builtin:
            return builtin[name]
        if _is_file(name):
            return spec.load(name)
        return await enrolment.fetch_pipeline(self._api, name)

    async def _unless_stopped(self, doing: Coroutine[Any, Any, T]) -> T | None:
        """Its result; None, and it is cancelled, when the agent is to stop first."""
        task = asyncio.create_task(doing)
        await _first(task, asyncio.create_task(self._stopping.wait()))
        return None if task.cancelled() else task.result()


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


async def _first(*tasks: asyncio.Task[Any]) -> None:
    """Returns when one of the tasks has ended, and the others are cancelled."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
