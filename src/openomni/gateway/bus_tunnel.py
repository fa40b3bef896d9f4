"""`/bus`: NATS inside a WebSocket, for agents that get out by HTTPS only. The bytes pass as they are; whoever was let
in here with an agent's token still has to show the bus its credentials, and soon."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

CHUNK = 64 * 1024
CONNECT_TIMEOUT = 5.0
UNAVAILABLE = 1013
UNAUTHORIZED = 4401
MAX_STRANGERS = 256
"""Connections that the bus has not let in yet, at a time; a quarter of them with one token."""
MAX_AGENTS = 256
"""Connections of one token, at a time."""
STRANGERS_PATIENCE = 10.0
"""Seconds until such a connection is closed."""
_LET_IN = (b"PONG\r\n", b"+OK\r\n")
"""What a NATS server says to a client's first words, where it lets it in."""


class Tunnel:
    """Bridges each WebSocket to a TCP connection of its own to the first bus that answers."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._targets = [
            (parts.hostname or "127.0.0.1", parts.port or 4222)
            for parts in map(urlsplit, urls)
            if parts.scheme in ("nats", "")
        ]
        self._strangers: dict[WebSocket, str] = {}
        """Whom the bus has not let in yet: whose token each has."""
        self._open: Counter[str] = Counter()
        """How many connections each token has."""

    async def __call__(self, websocket: WebSocket, token_id: str) -> None:
        here = sum(each == token_id for each in self._strangers.values())
        if len(self._strangers) >= MAX_STRANGERS or here >= MAX_STRANGERS // 4 or self._open[token_id] >= MAX_AGENTS:
            line = "too many connections to the bus with this token, or waiting to be let in; try again in a moment"
            await websocket.send_denial_response(JSONResponse({"error": line}, 429, {"Retry-After": "5"}))
            return
        self._strangers[websocket] = token_id
        self._open[token_id] += 1
        try:
            await self._bridge(websocket)
        finally:
            self._strangers.pop(websocket, None)
            self._open[token_id] -= 1
            self._open += Counter()  # forgets those that have none

    async def _bridge(self, websocket: WebSocket) -> None:
        try:
            reader, writer = await self._connect()
        except OSError as error:
            await websocket.accept()
            await websocket.close(UNAVAILABLE, str(error)[:120])
            return
        await websocket.accept()
        try:
            tasks = {
                asyncio.create_task(_to_bus(websocket, writer)),
                asyncio.create_task(self._from_bus(websocket, reader)),
            }
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await websocket.close()

    async def _from_bus(self, websocket: WebSocket, reader: asyncio.StreamReader) -> None:
        try:
            async with asyncio.timeout(STRANGERS_PATIENCE):
                await self._until_let_in(websocket, reader)
        except TimeoutError:
            await websocket.close(UNAUTHORIZED, "the bus was shown no credentials")
            return
        while data := await reader.read(CHUNK):
            await websocket.send_bytes(data)

    async def _until_let_in(self, websocket: WebSocket, reader: asyncio.StreamReader) -> None:
        heard = b""
        while data := await reader.read(CHUNK):
            await websocket.send_bytes(data)
            heard = heard[-8:] + data
            if any(word in heard for word in _LET_IN):
                del self._strangers[websocket]
                return

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError when no bus answers."""
        failure = OSError("the bus has no nats:// address; agents connect to it directly")
        for host, port in self._targets:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    return await asyncio.open_connection(host, port)
            except (OSError, TimeoutError):
                failure = OSError("the bus is not answering; try again")
        raise failure


async def _to_bus(websocket: WebSocket, writer: asyncio.StreamWriter) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes")
        writer.write(data if data is not None else message["text"].encode())
        await writer.drain()
