"""`/bus`: NATS inside a WebSocket, for agents that get out by HTTPS only. The bytes pass as they are; whoever comes in
this way still has to show the bus its credentials."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

CHUNK = 64 * 1024
CONNECT_TIMEOUT = 5.0
UNAVAILABLE = 1013


class Tunnel:
    """Bridges each WebSocket to a TCP connection of its own to the first bus that answers."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._targets = [
            (parts.hostname or "127.0.0.1", parts.port or 4222)
            for parts in map(urlsplit, urls)
            if parts.scheme in ("nats", "")
        ]

    async def __call__(self, websocket: WebSocket) -> None:
        try:
            reader, writer = await self._connect()
        except OSError as error:
            await websocket.accept()
            await websocket.close(UNAVAILABLE, str(error)[:120])
            return
        await websocket.accept()
        try:
            tasks = {asyncio.create_task(_to_bus(websocket, writer)), asyncio.create_task(_from_bus(websocket, reader))}
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


async def _from_bus(websocket: WebSocket, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(CHUNK):
        await websocket.send_bytes(data)
