"""A small server that speaks the client's side of the contract as a test tells it to: uploads, and both WebSockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from openomni import clock
from openomni.client.wire import ReplyChunk, read_captured_sound

TOKEN = "oo_0123abcd_secret"


@dataclass
class Stored:
    meta: dict[str, Any]
    data: bytearray = field(default_factory=bytearray)
    complete: bool = False


@dataclass
class Connection:
    """One WebSocket as the server sees it: what came, and means to answer."""

    websocket: WebSocket
    hello: dict[str, Any]
    sound: list[tuple[int, float, bytes]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    arrived: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    async def say(self, kind: str, **fields: Any) -> None:
        await self.websocket.send_text(json.dumps({"type": kind, **fields}))

    async def reply(self, chunk: ReplyChunk) -> None:
        await self.websocket.send_bytes(chunk.pack())

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next event of that type, with those fields."""
        while True:
            event = await self.arrived.get()
            if isinstance(event, dict) and event["type"] == kind and fields.items() <= event.items():
                return event

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


Script = Callable[[Connection], Awaitable[None]]


async def end_at_audio_end(connection: Connection) -> None:
    """Says nothing, and closes when the capture is over."""
    await connection.until("openomni.audio_end")
    await close(connection)


async def close(connection: Connection, reason: str = "", code: int = 1000) -> None:
    await connection.say("openomni.session.ended", reason=reason)
    await connection.websocket.close(code, reason)


class ScriptedServer:
    """Use as a context. `stop` cuts every connection as a crash would; `start` comes back on the same port."""

    def __init__(self) -> None:
        self.recordings: dict[str, Stored] = {}
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        """Recordings that somebody asked after."""
        self.connections: list[Connection] = []
        self.connected: asyncio.Queue[Connection] = asyncio.Queue()
        self.script: Script = end_at_audio_end
        self.clock_ahead = 0.0
        self.refusal: tuple[str, str] | None = None
        """(kind, message) of the error event that answers a hello."""
        self.min_version = self.version = "0.2.0"
        self.resumes = False
        """Finds sessions as their clients left them."""
        self.again_from: int | None = None
        self.problems: list[str] = []
        self.turns: list[dict[str, Any]] = []
        self.queued: list[dict[str, Any]] = []
        self.on_request: Callable[[Request], Response | None] = lambda request: None
        """An answer instead of the usual one."""
        self.on_write: Callable[[Stored], Response | None] = lambda stored: None
        self.seals_by_parts = True
        """Takes the checksum of all with the last part, as servers do since they came to."""
        self.changed = asyncio.Condition()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        config = uvicorn.Config(_app(self), host="127.0.0.1", port=self.port, log_level="critical", lifespan="off")
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server._serve())
        while not self._server.started:
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        for listening in self._server.servers:
            listening.close()
        await asyncio.sleep(0)  # a connection accepted just before
        for connection in self._server.server_state.connections.copy():
            connection.transport.abort()
        self._server.should_exit = self._server.force_exit = True
        await self._serving

    async def __aenter__(self) -> ScriptedServer:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def completed(self, recording_id: str) -> Stored:
        """Waits until a recording is complete."""
        async with self.changed:
            await self.changed.wait_for(
                lambda: recording_id in self.recordings and self.recordings[recording_id].complete
            )
        return self.recordings[recording_id]

    # ---- REST ----

    async def rest(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _no(401, "this token is unknown or expired")
        if (instead := self.on_request(request)) is not None:
            return instead
        match request.method, request.path_params["path"].split("/"):
            case "GET", ["hello"]:
                return JSONResponse({"version": "0.2.0"})
            case "GET", ["pipelines", name, "resolve"]:
                if name != "local":
                    return _no(404, f"there is no pipeline {name!r} in this project; did you mean 'local'?")
                return JSONResponse({"name": name, "hash": "h", "spec": {}, "problems": self.problems})
            case "PUT", ["recordings", recording_id]:
                stored = self.recordings.setdefault(recording_id, Stored(await request.json()))
                self.asked.put_nowait(recording_id)
                return JSONResponse({"received": len(stored.data)})
            case "PATCH", ["recordings", recording_id]:
                return await self._append(self.recordings[recording_id], request)
            case "POST", ["recordings", recording_id, "complete"]:
                return await self._complete(self.recordings[recording_id], await request.json())
            case "GET", ["recordings", recording_id]:
                if (stored := self.recordings.get(recording_id)) is None:
                    return _no(404, f"there is no recording {recording_id!r} in this project")
                self.asked.put_nowait(recording_id)
                status = "complete" if stored.complete else "receiving"
                return JSONResponse({"received": len(stored.data), "status": status})
            case "GET", ["recordings", recording_id, "content"]:
                return _ranged(bytes(self.recordings[recording_id].data), request)
            case "POST", ["turns", "queue"]:
                self.queued.append(await request.json())
                return JSONResponse({"session_id": "s", "turns": []}, 202)
            case "GET", ["turns"]:
                return JSONResponse({"items": self.turns, "next": None})
            case "GET", ["sessions", session_id]:
                return JSONResponse({"session_id": session_id, "status": "closed"})
        return _no(404, f"there is no endpoint {request.url.path}")

    async def _append(self, stored: Stored, request: Request) -> Response:
        body, offset = await request.body(), int(request.query_params["offset"])
        if (trouble := self.on_write(stored)) is not None:
            return trouble
        if offset != len(stored.data):
            return JSONResponse({"error": "go on", "received": len(stored.data)}, 409)
        stored.data += body
        if (sha256 := request.query_params.get("sha256")) and self.seals_by_parts:
            return await self._complete(stored, {"sha256": sha256, "size": len(stored.data)})
        return JSONResponse({"received": len(stored.data)})

    async def _complete(self, stored: Stored, promised: dict[str, Any]) -> Response:
        if hashlib.sha256(stored.data).hexdigest() != promised["sha256"]:
            stored.data.clear()
            return JSONResponse({"error": "these are other bytes", "received": 0}, 422)
        stored.complete = True
        async with self.changed:
            self.changed.notify_all()
        return JSONResponse({"received": len(stored.data), "complete": True})

    # ---- WebSockets ----

    async def live(self, websocket: WebSocket) -> None:
        await websocket.accept()
        connection = Connection(websocket, await websocket.receive_json())
        if self.refusal is not None:
            kind, message = self.refusal
            await connection.say("error", error={"type": kind, "message": message})
            await websocket.close(4404, message)
            return
        session_id = connection.hello.get("session_id") or "5e55"
        again = {} if self.again_from is None else {"again_from": self.again_from}
        await connection.say("openomni.welcome", session_id=session_id, resumed=self.resumes, clock=0.0,
                             version=self.version, min_version=self.min_version, **again)  # fmt: skip
        self.connections.append(connection)
        self.connected.put_nowait(connection)
        script = asyncio.ensure_future(self.script(connection))
        with suppress(WebSocketDisconnect):
            await self._read(connection)
        script.cancel()

    async def _read(self, connection: Connection) -> None:
        while True:
            message = await connection.websocket.receive()
            if message["type"] == "websocket.disconnect":
                connection.arrived.put_nowait("left")
                return
            if (data := message.get("bytes")) is not None:
                connection.sound.append(read_captured_sound(data))
                connection.arrived.put_nowait(connection.sound[-1])
                continue
            event = json.loads(message["text"])
            if event["type"] == "openomni.ping":
                now = clock.now() + self.clock_ahead
                await connection.say("openomni.pong", sent=event["sent"], received=now, sent_back=now)
                continue
            connection.events.append(event)
            connection.arrived.put_nowait(event)


def _app(server: ScriptedServer) -> Starlette:
    methods = ["GET", "PUT", "PATCH", "POST"]
    return Starlette(
        routes=[
            Route("/api/v1/{path:path}", server.rest, methods=methods),
            WebSocketRoute("/v1/realtime", server.live),
            WebSocketRoute("/v1/respond", server.live),
        ]
    )


def _no(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def _ranged(data: bytes, request: Request) -> Response:
    asked = request.headers.get("range")
    if not asked:
        return Response(data)
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    return Response(data[start:], 206) if start < len(data) else Response(status_code=416)
