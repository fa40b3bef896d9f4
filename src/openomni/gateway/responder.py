"""`/v1/respond?site=<slug>`: a responder hears all that is said at its site, and reports what it really played. One
without a site hears what is said in sessions that have none and were opened with its own token."""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.websockets import WebSocket, WebSocketDisconnect

from .. import clock, events
from ..bus import subjects
from ..bus.sessions import site_outputs
from ..clock import Offset
from ..events import ReplyEnd, ReplyPaused, ReplyResumed, ReplySound
from . import connection, protocol
from .access import Access
from .client_events import played, read_offset
from .hello import read_hello, welcome
from .hosted_session import session_of
from .protocol import Ended, Json, ProtocolError, encode, failure, pack_reply
from .services import Gateway
from .spoken_turns import SpokenTurn

KEPT_TURNS = 256
"""Turns of a connection that may still be paused, go on or end."""
MAX_FAULTS = 200


async def respond(websocket: WebSocket) -> None:
    """The endpoint."""
    gateway: Gateway = websocket.app.state.gateway
    async with connection.admit(gateway, websocket) as admitted:
        if admitted is not None:
            await ResponderConnection(gateway, websocket, *admitted).run()


class ResponderConnection:
    """One responder's connection."""

    def __init__(self, gateway: Gateway, websocket: WebSocket, token: str, access: Access) -> None:
        self._gateway, self._websocket, self._token, self._access = gateway, websocket, token, access
        self._offset: Offset | None = None
        self._begun: deque[str] = deque(maxlen=KEPT_TURNS)
        """Turns whose sound came over this connection."""

    async def run(self) -> None:
        end: Ended | WebSocketDisconnect = Ended(protocol.RESTARTING, "the gateway is stopping")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(connection.watch(self._gateway, self._token))
                self._room = connection.room(connection.site(self._websocket, self._access), self._access)
                await self._hello()
                group.create_task(self._hear())
                await self._read()
        except BaseExceptionGroup as ends:
            end = connection.as_end(ends)
        finally:
            if isinstance(end, Ended):
                await connection.close(self._websocket, end, *([encode(end.event)] if end.event else []))

    async def _hello(self) -> None:
        message = protocol.parse(_text(await connection.receive(self._websocket)))
        if message["type"] != "openomni.hello":
            raise failure(protocol.BAD_REQUEST, "invalid_event", "a responder's first message is openomni.hello")
        read_hello(message)
        await self._say(encode(welcome()))

    async def _hear(self) -> None:
        heard = site_outputs(self._gateway.bus, self._access.project, self._room)
        async for token, output in heard:
            match output:
                case ReplySound():
                    if output.turn_id not in self._begun:
                        self._begun.append(output.turn_id)
                        self._gateway.spoken.put(self._key(output.turn_id), token)
                        await self._tell("openomni.reply.started", output.turn_id, session_id=session_of(token))
                    await self._say(pack_reply(output.turn_id, output.rate, output.offset, output.pcm))
                case ReplyEnd() if output.turn_id in self._begun:
                    await self._tell("openomni.reply.ended", output.turn_id, status=output.status)
                case ReplyPaused() if output.turn_id in self._begun:
                    await self._tell("openomni.reply.paused", output.turn_id)
                case ReplyResumed() if output.turn_id in self._begun:
                    await self._tell("openomni.reply.resumed", output.turn_id)

    def _key(self, turn_id: str) -> SpokenTurn:
        return self._access.project, self._room, turn_id

    async def _read(self) -> None:
        faults = 0
        while True:
            message = await connection.receive(self._websocket)
            received = clock.now()
            try:
                await self._take(protocol.parse(_text(message)), received)
                faults = 0
            except ProtocolError as fault:
                faults += 1
                if faults > MAX_FAULTS:
                    raise Ended(protocol.FLOODING, "too many messages in error") from None
                await self._say(fault.event)

    async def _take(self, message: Json, received: float) -> None:
        match message["type"]:
            case "openomni.ping":
                sent = protocol.number(message, "sent")
                pong = {"type": "openomni.pong", "sent": sent, "received": received, "sent_back": clock.now()}
                await self._say(encode(pong))
            case "openomni.clock":
                self._offset = read_offset(message)
            case "openomni.playback":
                report = played(message, self._offset)
                token = self._gateway.spoken.get(self._key(report.turn_id))
                if token is None:
                    raise ProtocolError("unknown_turn", f"turn {report.turn_id!r} was not heard here", "turn_id")
                subject = subjects.live(self._access.project, self._room, token, "in")
                await self._gateway.bus.publish(subject, events.encode(report))
            case other:
                raise ProtocolError("unknown_event", f"a responder sends no {other[:80]!r}", "type")

    async def _tell(self, kind: str, turn_id: str, **fields: str) -> None:
        await self._say(encode({"type": kind, "turn_id": turn_id, **fields}))

    async def _say(self, message: str | bytes) -> None:
        await connection.send(self._websocket, message)


def _text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise ProtocolError("invalid_frame", "a responder sends JSON only")
    return message
