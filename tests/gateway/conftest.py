"""A gateway between a real nats-server, a scripted API and scripted hosts, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from websockets.asyncio.client import ClientConnection, connect

from openomni.bus.connection import Bus
from openomni.bus.connection import connect as connect_bus
from openomni.bus.credentials import Authority, Credentials, Keys
from openomni.bus.fleet import Announcer, Presence
from openomni.bus.server import EmbeddedServer
from openomni.bus.sessions import OpenSession, SessionLink, SessionOpened, SessionRefused, host_end, serve_sessions
from openomni.bus.streams import declare
from openomni.events import (
    Heard,
    ReplyEnd,
    ReplySound,
    ReplyText,
    SessionInput,
    SessionOutput,
    SpeechStarted,
    SpeechStopped,
    TurnDone,
)
from openomni.gateway.app import application
from openomni.gateway.server import Server, address, bus_connection, listen
from openomni.gateway.services import Gateway
from openomni.pipeline import spec

SECRET = "the server's secret"
TOKEN = "oo_0000aaaa_device"
LOCAL = spec.parse(
    "name: local\nstages: [{stt: simulated}, {llm: simulated}, {tts: simulated}]\nturn_taking: {vad: energy}"
)


@dataclass
class ScriptedApi:
    """Tokens, pipelines and recordings as the API serves them, and a few pages to pass on."""

    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    recordings: dict[str, bytes] = field(default_factory=dict)
    completed: dict[str, asyncio.Event] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    makers: dict[str, str] = field(default_factory=dict)
    """Sessions that the API knows, and the token that began each."""
    introspections: int = 0
    url: str = ""
    server: uvicorn.Server | None = None

    def allow(self, token: str, *scopes: str, project: str = "default", **more: Any) -> str:
        self.tokens[token] = {
            "token_id": token[3:11], "project": project, "scopes": list(scopes) or ["device"],
            "site": "", "device": "", "expires_at": None, **more,
        }  # fmt: skip
        return token

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/v1/auth/introspect", self.introspect, methods=["POST"]),
                Route("/api/v1/me", self.me),
                Route("/api/v1/pipelines", self.pipelines),
                Route("/api/v1/pipelines/{name}/resolve", self.resolve),
                Route("/api/v1/sessions/{id}/opening", self.opening),
                Route("/api/v1/hello", lambda _: JSONResponse({"version": "0.2.0"})),
                Route("/api/v1/recordings/{id}", self.recording, methods=["GET", "PUT", "PATCH"]),
                Route("/api/v1/recordings/{id}/complete", self.complete, methods=["POST"]),
                Route("/echo/{rest:path}", self.echo, methods=["GET", "POST"]),
                Route("/slow", self.slow),
            ]
        )

    async def introspect(self, request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {SECRET}":
            return JSONResponse({"error": "not you"}, 403)
        self.introspections += 1
        known = self.tokens.get((await request.json())["token"])
        return JSONResponse(known) if known else JSONResponse({"error": "this token is unknown to this server"}, 404)

    async def me(self, request: Request) -> Response:
        known = request.headers["authorization"].removeprefix("Bearer ") in self.tokens
        known = known or request.cookies.get("openomni_session") == "signed-in"
        return JSONResponse({"project": "default"}) if known else JSONResponse({"error": "who is this?"}, 401)

    async def pipelines(self, request: Request) -> Response:
        assert request.headers["authorization"] == f"Bearer {SECRET}"
        assert request.headers["openomni-project"] == "default"
        return JSONResponse({"items": [{"name": "local", "hash": LOCAL.hash}, {"name": "x", "hash": LOCAL.hash}]})

    async def resolve(self, request: Request) -> Response:
        assert request.headers["authorization"] == f"Bearer {SECRET}"
        assert request.query_params["project"] == request.headers["openomni-project"]
        name = request.path_params["name"]
        if name not in ("local", "x"):
            return JSONResponse({"error": f"there is no pipeline {name!r}; did you mean 'local'?"}, 404)
        return JSONResponse({"name": name, "hash": LOCAL.hash, "spec": {**LOCAL.normalised(), "name": name},
                             "faults": self.faults})  # fmt: skip

    async def opening(self, request: Request) -> Response:
        """A session that it knows is opened by the token that began it."""
        token = request.headers["authorization"].removeprefix("Bearer ")
        maker = self.makers.get(key := request.path_params["id"], token)
        if maker != token:
            return JSONResponse({"error": f"this token can't open the session {key!r}; make a new id"}, 403)
        return JSONResponse({"session_id": key, "known": key in self.makers})

    async def recording(self, request: Request) -> Response:
        key = request.path_params["id"]
        have = self.recordings.setdefault(key, b"")
        self.completed.setdefault(key, asyncio.Event())
        if request.method == "PATCH":
            if int(request.query_params["offset"]) != len(have):
                return JSONResponse({"received": len(have)}, 409)
            self.recordings[key] += await request.body()
        return JSONResponse({"received": len(self.recordings[key])})

    async def complete(self, request: Request) -> Response:
        self.completed[request.path_params["id"]].set()
        return JSONResponse({"status": "complete"})

    async def echo(self, request: Request) -> Response:
        body = await request.body()
        response = JSONResponse(
            {"path": request.url.path, "query": request.url.query, "size": len(body), **dict(request.headers)},
            status_code=206 if "range" in request.headers else 200,
        )
        response.set_cookie("one", "1")
        response.set_cookie("two", "2")
        return response

    async def slow(self, request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.Event().wait()

        return StreamingResponse(parts())


async def uploaded(api: ScriptedApi, recording: str) -> bytes:
    """Its bytes, once the API has all of them."""
    async with asyncio.timeout(10):
        while recording not in api.completed:
            await asyncio.sleep(0.01)
        await api.completed[recording].wait()
    return bytes(api.recordings[recording])


class Hosted:
    """One session as its scripted host sees it."""

    def __init__(self, opening: OpenSession, link: SessionLink[SessionOutput, SessionInput]) -> None:
        self.opening, self.link = opening, link
        self.inputs: asyncio.Queue[SessionInput] = asyncio.Queue()

    async def read(self) -> None:
        async for event in self.link:
            self.inputs.put_nowait(event)

    async def until(self, kind: type) -> Any:
        """The next input of a kind; those before it are passed over."""
        async with asyncio.timeout(5):
            while not isinstance(event := await self.inputs.get(), kind):
                pass
            return event

    async def emit(self, *outputs: SessionOutput) -> None:
        for output in outputs:
            await self.link.send(output)

    async def answer(self, turn_id: str, rate: int = 22_050, end: bool = True) -> None:
        """A whole turn: half a second of speech, its transcript, and a reply of 0.2 s."""
        await self.emit(
            SpeechStarted(turn_id, 1600), SpeechStopped(turn_id, 9600), Heard(turn_id, "what is", False),
            Heard(turn_id, "what is up", True), ReplyText(turn_id, "All "), ReplyText(turn_id, "is well."),
            ReplySound(turn_id, rate, 0, 0.0, bytes(rate // 10 * 2)),
            ReplySound(turn_id, rate, rate // 10, 0.0, bytes(rate // 10 * 2)),
        )  # fmt: skip
        if end:
            await self.emit(ReplyEnd(turn_id, "completed"), TurnDone(turn_id, b'{"turn_id":"%s"}' % turn_id.encode()))


class ScriptedHost:
    """An agent that hosts; what it answers is up to the test."""

    def __init__(self, bus: Bus, presence: Presence) -> None:
        self.bus, self.presence = bus, presence
        self.refuses = ""
        self.opened: asyncio.Queue[Hosted] = asyncio.Queue()
        self.stack = AsyncExitStack()

    async def start(self) -> None:
        serving = await serve_sessions(self.bus, self.presence.project, self.presence.agent_id, self.host)
        self.stack.push_async_callback(serving.aclose)
        await self.stack.enter_async_context(Announcer(self.bus, lambda: self.presence, every=0.2))

    async def host(self, opening: OpenSession) -> SessionOpened | SessionRefused:
        if self.refuses:
            return SessionRefused(self.presence.agent_id, self.refuses)
        hosted = Hosted(opening, await self.stack.enter_async_context(host_end(self.bus, opening)))
        reading = asyncio.create_task(hosted.read())
        self.stack.callback(reading.cancel)
        self.opened.put_nowait(hosted)
        return SessionOpened(self.presence.agent_id)

    async def session(self) -> Hosted:
        async with asyncio.timeout(5):
            return await self.opened.get()

    async def vanish(self) -> None:
        """Gone, as after SIGKILL, but that its goodbye spares the test the seconds until its silence is noticed."""
        await self.stack.aclose()
        await self.bus.close()


class Client:
    """A WebSocket client that reads events by type."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any] | bytes) -> None:
        await self.socket.send(message if isinstance(message, bytes) else msgspec.json.encode(message).decode())

    async def next(self) -> dict[str, Any] | bytes:
        async with asyncio.timeout(5):
            data = await self.socket.recv()
        if isinstance(data, bytes):
            return data
        event: dict[str, Any] = msgspec.json.decode(data)
        self.seen.append(event)
        return event

    async def until(self, kind: str) -> dict[str, Any]:
        while True:
            event = await self.next()
            if isinstance(event, dict) and event["type"] == kind:
                return event

    async def hello(self, **more: Any) -> dict[str, Any]:
        await self.send({"type": "openomni.hello", "version": "0.2.0", **more})
        return await self.until("openomni.welcome")


@dataclass
class World:
    """Everything around one gateway."""

    api: ScriptedApi
    server: EmbeddedServer
    authority: Authority
    stack: AsyncExitStack
    folder: Path
    url: str = ""
    gateway: Gateway | None = None
    uvicorn: Server | None = None

    @property
    def ws(self) -> str:
        return self.url.replace("http", "ws", 1)

    async def host(self, agent_id: str = "host1", offers: tuple[str, ...] = (), **more: Any) -> ScriptedHost:
        keys = Keys.create()

        async def renew() -> Credentials:
            return self.authority.issue("agent", keys.public, 3600, project="default", agent_id=agent_id)

        bus = await connect_bus(self.server.url, renew, keys, agent_id, timeout=10)
        self.stack.push_async_callback(bus.close)
        components = list(offers or ("stt:simulated", "llm:simulated", "tts:simulated"))
        presence = Presence(agent_id=agent_id, name=agent_id, project="default", roles=["host"], components=components)
        host = ScriptedHost(bus, msgspec.structs.replace(presence, **more))
        self.stack.push_async_callback(host.stack.aclose)
        await host.start()
        return host

    async def connect(self, path: str = "/v1/realtime?model=local", token: str = TOKEN, **headers: str) -> Client:
        sent = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        socket = await connect(self.ws + path, additional_headers=sent, max_size=None, close_timeout=1)
        self.stack.push_async_callback(socket.close)
        return Client(socket)


async def serving(server: uvicorn.Server, sockets: list[Any], stack: AsyncExitStack) -> None:
    """Serves in this loop, without taking over the process's signals."""
    task = asyncio.create_task(server._serve(sockets))

    async def stop() -> None:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stop)
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    scripted = ScriptedApi()
    scripted.allow(TOKEN, "device")
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(scripted.app(), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    scripted.url, scripted.server = address(listener), uvicorn.Server(config)
    async with AsyncExitStack() as stack:
        await serving(scripted.server, [listener], stack)
        yield scripted


@pytest.fixture
async def world(tmp_path: Path, api: ScriptedApi) -> AsyncIterator[World]:
    authority = Authority.create()
    async with EmbeddedServer(tmp_path, authority) as server, AsyncExitStack() as stack:
        made = World(api, server, authority, stack, tmp_path)
        connecting = bus_connection([server.url], authority.seeds)
        bus = await connecting()
        await declare(bus)
        await bus.close()

        def make() -> Gateway:
            made.gateway = Gateway(api.url, SECRET, [server.url], connecting, tmp_path / "spool")
            return made.gateway

        listener = listen("127.0.0.1", 0)
        made.url, made.uvicorn = address(listener), Server(application(make))
        await serving(made.uvicorn, [listener], stack)
        async with asyncio.timeout(10):
            while made.gateway is None or (await made.gateway.health())["bus"] != "ok":
                await asyncio.sleep(0.01)
        yield made
        await stack.aclose()
