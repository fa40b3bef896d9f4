"""What an agent meets in the world: a real nats-server, an API that registers it, and agents as processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from openomni import clock
from openomni.agent.folder import AgentFolder
from openomni.agent.health import AgentHealth
from openomni.agent.offers import resolve
from openomni.agent.pool import ComponentPool
from openomni.agent.remote_run import Clocks
from openomni.agent.runner import FleetRunner
from openomni.agent.stages import StageService
from openomni.agent.worker import AgentSettings, Worker
from openomni.bus import records as bus_records
from openomni.bus import streams, work
from openomni.bus.calls import serve_stages
from openomni.bus.clocksync import serve_clock
from openomni.bus.connection import Bus, connect
from openomni.bus.credentials import Authority, Credentials, Keys
from openomni.bus.fleet import Announcer, Fleet, Presence
from openomni.bus.server import EmbeddedServer
from openomni.bus.sessions import OpenSession, gateway_end, open_session
from openomni.events import AudioIn, SessionOutput
from openomni.media import Audio
from openomni.pipeline.spec import Pipeline, parse
from openomni.records import AnyRecord, SessionRecord, TurnRecord
from openomni.storage.api import Api

TOKEN = "oo_0123abcd_secret"
DEVICE_TOKEN = "oo_4567cdef_secret"


class Backend:
    """Use as a context. `stop_api` and `start_api` take the API away and bring it back on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create()
        self.tokens = {TOKEN: ("default", "agent"), DEVICE_TOKEN: ("default", "device")}
        self.ttl = 3600.0
        self.bus_urls: list[str] = []
        """Where agents are told that the bus is; by default where it is."""
        self.agents: dict[str, dict[str, Any]] = {}
        self.registrations = 0
        self.renewals = 0
        self.recordings: dict[str, bytes] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self.downloads: list[str] = []
        self.records: list[AnyRecord] = []
        self.pipelines: dict[str, dict[str, Any]] = {}
        """By hash."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Backend:
        self.stack = AsyncExitStack()
        self.nats = await self.stack.enter_async_context(EmbeddedServer(self.folder / "bus", self.authority))
        self.bus = await self.connect("server")
        await streams.declare(self.bus)
        for project in ("default", "other"):
            # An agent says that it still works every 3.3 s; a dead one's turns need not lie for the usual 10.
            await streams.work_consumer(self.bus, project, ack_wait=4.0)
        writing = asyncio.create_task(bus_records.consume(self.bus, self._keep))
        self.stack.push_async_callback(self._cancel, writing)
        self.fleet = await self.stack.enter_async_context(Fleet(self.bus))
        await serve_clock(self.bus)
        await self.start_api()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop_api()
        await self.stack.aclose()

    async def connect(self, name: str, **user: str) -> Bus:
        keys = Keys.create()

        async def renew() -> Credentials:
            return self.authority.issue("agent" if user else "server", keys.public, 3600, **user)

        bus = await connect(self.nats.url, renew, keys, name, timeout=10, retry_every=0.05)
        self.stack.push_async_callback(bus.close)
        return bus

    @staticmethod
    async def _cancel(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    # ---- what came in ----------------------------------------------------------------------------------------

    async def _keep(self, batch: list[AnyRecord]) -> None:
        self.records += batch

    async def until(self, holds: Callable[[], Any], timeout: float = 30.0) -> Any:
        """Waits until something that came with a record, an upload or the fleet holds; gives it."""
        async with asyncio.timeout(timeout):
            while not (found := holds()):
                await asyncio.sleep(0.01)
        return found

    def turns(self, status: str = "") -> dict[str, TurnRecord]:
        """The last record of each turn, those with a status when one is given."""
        last = {record.turn_id: record for record in self.records if isinstance(record, TurnRecord)}
        return {key: record for key, record in last.items() if status in ("", record.status)}

    def runs(self, turn_id: str) -> int:
        """How often a turn was run to its end; a record that comes twice is the same run."""
        return len(
            {
                record.stages[0].task_id
                for record in self.records
                if isinstance(record, TurnRecord) and record.turn_id == turn_id and record.status == "completed"
            }
        )

    def sessions(self) -> list[SessionRecord]:
        return [record for record in self.records if isinstance(record, SessionRecord)]

    async def there(self, *names: str) -> list[Presence]:
        """The agents of those names, once the fleet knows them all."""

        def known() -> list[Presence]:
            found = {agent.name: agent for agent in self.fleet.agents}
            return [found[name] for name in names] if set(names) <= found.keys() else []

        return await self.until(known)  # type: ignore[no-any-return]

    async def restart_nats(self) -> None:
        """Kills the bus the hard way and returns when its supervisor has it up again."""
        before = self.nats.restarts
        assert self.nats.pid
        os.kill(self.nats.pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while self.nats.restarts == before or not self.nats.pid:
                await asyncio.sleep(0.02)

    # ---- live sessions ---------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def session(self, host: str, pipeline: Pipeline, **fields: Any) -> AsyncIterator[Live]:
        """A session on the agent of that name, as the gateway opens it."""
        (agent,) = await self.there(host)
        opening = OpenSession(
            session_id=uuid.uuid4().hex, project="default", pipeline=pipeline.name, pipeline_hash=pipeline.hash,
            spec=pipeline.normalised(), **fields,
        )  # fmt: skip
        async with gateway_end(self.bus, opening) as link:
            await open_session(self.bus, agent.agent_id, opening)
            yield Live(opening.session_id, link)

    async def uploaded(self, recording_id: str) -> dict[str, Any]:
        """A recording that an agent has uploaded, once all of it is here."""

        def complete() -> dict[str, Any] | None:
            found = self.uploads.get(recording_id)
            return found if found and found["complete"] else None

        return await self.until(complete)  # type: ignore[no-any-return]

    # ---- work ------------------------------------------------------------------------------------------------

    def record(self, audio: Audio) -> str:
        """Puts a recording on the server; its id."""
        recording_id = uuid.uuid4().hex
        path = audio.save(self.folder / f"{recording_id}.wav")
        self.recordings[recording_id] = path.read_bytes()
        return recording_id

    def turn(self, pipeline: Pipeline, recording: str, project: str = "default", **fields: Any) -> work.Work:
        """Work of a turn, whose pipeline the API knows by its hash."""
        self.pipelines[pipeline.hash] = pipeline.normalised()
        own: dict[str, Any] = {"turn_id": uuid.uuid4().hex, "session_id": uuid.uuid4().hex}
        turn = work.TurnWork(pipeline=pipeline.name, recording=recording, **{**own, **fields})
        return turn.work(project, pipeline.hash, ready_at=time.time())

    # ---- the API ---------------------------------------------------------------------------------------------

    async def start_api(self) -> None:
        routes = [Route("/api/v1/{path:path}", self._rest, methods=["GET", "POST", "PUT", "PATCH"])]
        config = uvicorn.Config(
            Starlette(routes=routes), host="127.0.0.1", port=self.port, log_level="critical", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
        self._serving = asyncio.create_task(self._server._serve())
        while not self._server.started:
            await asyncio.sleep(0.005)

    async def stop_api(self) -> None:
        for connection in self._server.server_state.connections.copy():
            connection.transport.abort()  # type: ignore[union-attr]
        self._server.should_exit = self._server.force_exit = True
        await self._serving

    async def _rest(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return _no(401, "this token is unknown or expired")
        project, scope = self.tokens[token]
        path = request.path_params["path"].split("/")
        return await self._answer(request, project, scope, path)

    async def _answer(self, request: Request, project: str, scope: str, path: list[str]) -> Response:
        match request.method, path:
            case "POST", ["agents"]:
                if scope != "agent":
                    return _no(403, "this needs the scope agent, and the caller has device")
                return self._register(project, await request.json())
            case "POST", ["agents", agent_id, "credentials"]:
                if agent_id not in self.agents:
                    return _no(404, f"there is no agent {agent_id!r}")
                self.renewals += 1
                return JSONResponse(self._credentials(project, agent_id, (await request.json())["public_key"]))
            case "GET", ["pipelines", "versions", spec_hash]:
                if spec_hash not in self.pipelines:
                    return _no(404, f"there is no pipeline of the hash {spec_hash} in this project")
                return JSONResponse({"hash": spec_hash, "spec": self.pipelines[spec_hash]})
            case "GET", ["turns"]:
                session_id = request.query_params["session"]
                said = [msgspec.to_builtins(turn) for turn in self.turns().values() if turn.session_id == session_id]
                return JSONResponse({"items": said[::-1], "next": None})
            case "GET", ["turns", turn_id]:
                return JSONResponse(msgspec.to_builtins(self.turns()[turn_id]))
            case "GET", ["sessions", _, "items"]:
                return JSONResponse([])  # queued turns have none
            case "GET", ["recordings", recording_id] if recording_id in self.uploads:
                return JSONResponse({"recording_id": recording_id, "received": len(self.uploads[recording_id]["data"])})
            case "GET", ["recordings", recording_id]:
                if recording_id not in self.recordings:
                    return _no(404, f"there is no recording {recording_id!r} in this project")
                return JSONResponse({"recording_id": recording_id, "status": "complete"})
            case "GET", ["recordings", recording_id, "content"]:
                self.downloads.append(recording_id)
                return Response(self.recordings[recording_id], media_type="audio/wav")
            case "PUT", ["recordings", recording_id]:
                self.uploads.setdefault(recording_id, {"meta": await request.json(), "data": b"", "complete": False})
                return JSONResponse({})
            case "PATCH", ["recordings", recording_id]:
                stored = self.uploads[recording_id]
                body, offset = await request.body(), int(request.query_params["offset"])
                if offset != len(stored["data"]):
                    return JSONResponse({"error": "go on", "received": len(stored["data"])}, 409)
                stored["data"] += body
                return JSONResponse({"received": len(stored["data"])})
            case "POST", ["recordings", recording_id, "complete"]:
                self.uploads[recording_id]["complete"] = True
                return JSONResponse({})
        return _no(404, f"there is no endpoint {request.url.path}")

    def _register(self, project: str, body: dict[str, Any]) -> Response:
        self.registrations += 1
        known = {(agent["project"], agent["name"]): key for key, agent in self.agents.items()}
        agent_id = known.get((project, body["name"])) or uuid.uuid4().hex
        self.agents[agent_id] = {**body, "project": project}
        access = {**self._credentials(project, agent_id, body["public_key"]), "urls": self.bus_urls or [self.nats.url]}
        return JSONResponse({"agent_id": agent_id, "project": project, "bus": access})

    def _credentials(self, project: str, agent_id: str, public_key: str) -> dict[str, Any]:
        issued = self.authority.issue("agent", public_key, self.ttl, project=project, agent_id=agent_id)
        return msgspec.to_builtins(issued)  # type: ignore[no-any-return]


def _no(status: int, line: str) -> Response:
    return JSONResponse({"error": line}, status)


@dataclass
class Live:
    """The gateway's end of a session."""

    session_id: str
    link: Any
    outputs: list[SessionOutput] = field(default_factory=list)
    position: int = 0

    async def say(self, audio: Audio) -> None:
        """As fast as it goes; each piece is stamped as if it had just been captured."""
        pcm = audio.pcm16()
        for first in range(0, len(pcm), 640):
            await self.link.send(AudioIn(self.position, clock.now(), pcm[first : first + 640]))
            self.position += len(pcm[first : first + 640]) // 2

    async def until(self, kind: type, timeout: float = 20.0) -> Any:
        """The next output of that kind; those before it are kept too."""
        async with asyncio.timeout(timeout):
            async for output in self.link:
                self.outputs.append(output)
                if isinstance(output, kind):
                    return output
        raise AssertionError(f"the link ended before a {kind.__name__}")

    def of(self, kind: type) -> list[Any]:
        return [output for output in self.outputs if isinstance(output, kind)]


@contextlib.asynccontextmanager
async def workers(backend: Backend) -> AsyncIterator[Callable[..., Any]]:
    """`await employ(name, offer, …)`: an agent in this process, ready; drained when the block ends."""
    running: list[tuple[Worker, asyncio.Task[None], AsyncExitStack]] = []

    async def employ(name: str, offer: str, **more: Any) -> Worker:
        stack = AsyncExitStack()
        home = AgentFolder.claim(backend.folder / f"{name}.data")
        stack.callback(home.close)
        settings = AgentSettings(backend.url, TOKEN, offer, name=name, **{"drain_timeout": 0.0, **more})
        api = await stack.enter_async_context(Api(settings.server, settings.token))
        worker = Worker(settings, resolve(offer), home, api)
        task = asyncio.create_task(worker.run(), name=f"agent {name}")
        running.append((worker, task, stack))
        there = asyncio.create_task(backend.there(name))
        await asyncio.wait((task, there), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            there.cancel()
            task.result()
        return worker

    try:
        yield employ
    finally:
        for worker, task, stack in running:
            worker.stop()
            await asyncio.gather(task, return_exceptions=True)
            await stack.aclose()


# ---- agents as processes -------------------------------------------------------------------------------------


@dataclass
class AgentProcess:
    """`openomni agent` as its users start it."""

    name: str
    process: asyncio.subprocess.Process
    ready_file: Path
    log: Path
    ready: dict[str, Any] = field(default_factory=dict)

    def kill(self) -> None:
        """As a crash or a power cut would."""
        self.process.kill()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self, timeout: float = 40.0) -> int:
        return await asyncio.wait_for(self.process.wait(), timeout)

    async def until_ready(self, timeout: float = 40.0) -> AgentProcess:
        async with asyncio.timeout(timeout):
            while not self.ready_file.exists():
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.02)
        self.ready = json.loads(self.ready_file.read_text())
        return self


async def launch(
    folder: Path, server: str, name: str, offer: str, *more: str, token: str = TOKEN, **env: str
) -> AgentProcess:
    ready, log = folder / f"{name}.ready", folder / f"{name}.log"
    ready.unlink(missing_ok=True)
    arguments = ["agent", "--server", server, "--token", token, "--offer", offer, "--name", name,
                 "--data-dir", str(folder / f"{name}.data"), "--ready-file", str(ready), *more]  # fmt: skip
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "openomni.cli.main",
            *arguments,
            stdout=out,
            stderr=out,
            env={**os.environ, **(env or {})},
        )
    return AgentProcess(name, process, ready, log)


@contextlib.asynccontextmanager
async def agents(folder: Path, server: str) -> AsyncIterator[Callable[..., Any]]:
    """Starts agents that are gone when the block ends, whatever became of them."""
    started: list[AgentProcess] = []

    async def start(name: str, offer: str, *more: str, wait: bool = True, **options: Any) -> AgentProcess:
        agent = await launch(folder, server, name, offer, *more, **options)
        started.append(agent)
        return await agent.until_ready() if wait else agent

    try:
        yield start
    finally:
        for agent in started:
            if agent.process.returncode is None:
                agent.process.kill()
            await agent.process.wait()


def pipeline(stt: str = "", llm: str = "", tts: str = "", turn_taking: str = "{vad: energy}") -> Pipeline:
    """Simulated stages; each argument is more YAML for its stage, such as `delay_s: 0.2`."""
    lines = ["name: simulated", "stages:"]
    for kind, more in (("stt", stt), ("llm", llm), ("tts", tts)):
        lines.append(f"  - {{{kind}: simulated{', ' + more if more else ''}}}")
    return parse("\n".join([*lines, f"turn_taking: {turn_taking}"]))


def speech(*spans: tuple[float, float], length: float) -> Audio:
    """Something that an energy detector takes for speech in the spans (seconds), silence elsewhere."""
    samples = np.zeros(round(length * 16_000), np.float32)
    for start, end in spans:
        first, last = round(start * 16_000), round(end * 16_000)
        samples[first:last] = 0.3 * np.sin(2 * np.pi * 220 * np.arange(last - first) / 16_000)
    return Audio(samples, 16_000)


@dataclass
class Remote:
    """An agent's stages on the bus, in this process, for tests that look into a call."""

    bus: Bus
    presence: Presence
    pool: ComponentPool
    health: AgentHealth

    async def vanish(self) -> None:
        """Falls silent in the middle of everything, as a killed process does."""
        await self.bus.close()


async def remote(backend: Backend, name: str, offer: str, slots: int = 4, project: str = "default") -> Remote:
    """Serves what `offer` names as agent `name`, and returns when the fleet knows it."""
    agent_id = uuid.uuid4().hex
    bus = await backend.connect(name, project=project, agent_id=agent_id)
    offered = resolve(offer)
    components = offered.components
    built, health = ComponentPool(components), AgentHealth(slots)
    presence = Presence(
        agent_id=agent_id,
        name=name,
        project=project,
        slots=slots,
        components=[f"{kind}:{of}" for kind, of in components],
        options=offered.options,
    )
    server = await serve_stages(bus, project, agent_id, StageService(agent_id, built, health).run)
    backend.stack.push_async_callback(server.aclose)

    def here() -> Presence:
        presence.busy = health.busy
        return presence

    announcer = await backend.stack.enter_async_context(Announcer(bus, here))
    health.on_change = announcer.changed
    await backend.there(name)
    return Remote(bus, presence, built, health)


async def runner(backend: Backend, name: str = "host", offer: str = "vad:energy", patience: float = 5.0) -> FleetRunner:
    """Runs stages as a host of that name does, which offers next to nothing itself."""
    agent_id = uuid.uuid4().hex
    bus = await backend.connect(name, project="default", agent_id=agent_id)
    fleet = await backend.stack.enter_async_context(Fleet(bus, "default"))
    await fleet.ready()
    return FleetRunner(agent_id, name, ComponentPool(resolve(offer).components), bus, fleet, Clocks(), patience)
