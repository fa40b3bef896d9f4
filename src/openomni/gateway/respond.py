"""`/v1/respond?site=<slug>`: a responder hears all that is said at its site, and reports what it really played."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from starlette.websockets import WebSocket, WebSocketDisconnect

from .. import clock, events
from ..bus import subjects
from ..bus.sessions import site_outputs
from ..clock import Offset
from ..events import ReplyEnd, ReplyPaused, ReplyResumed, ReplySound
from . import door, protocol
from .access import Access
from .hello import read_hello, welcome
from .inbox import played, read_offset
from .live import session_of
from .protocol import Ended, Json, ProtocolError, encode, failure, pack_reply

if TYPE_CHECKING:
    from .app import Gateway

KEPT_TURNS = 256
"""Turns of a connection that may still be paused, go on or end."""
REPORTED_TURNS = 4096
"""Turns of all sites together whose playback may still be reported."""
MAX_FAULTS = 200

SpokenTurn = tuple[str, str, str]
"""Project, site, turn."""


class Spoken:
    """Which session a turn that was spoken at a site belongs to, as the subject's token. It outlives a responder's
    connection: one that lost its line reports, when it is back, on what it played meanwhile."""

    def __init__(self) -> None:
        self._tokens: dict[SpokenTurn, str] = {}

    def put(self, turn: SpokenTurn, token: str) -> None:
        self._tokens[turn] = token
        while len(self._tokens) > REPORTED_TURNS:
            del self._tokens[next(iter(self._tokens))]

    def get(self, turn: SpokenTurn) -> str | None:
        return self._tokens.get(turn)


async def respond(websocket: WebSocket) -> None:
    """The endpoint."""
    gateway: Gateway = websocket.app.state.gateway
    async with door.admit(gateway, websocket) as admitted:
        if admitted is not None:
            await Hearing(gateway, websocket, *admitted).run()


class Hearing:
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
                group.create_task(door.watch(self._gateway, self._token))
                self._site = door.site(self._websocket, self._access) or subjects.NO_SITE
                await self._hello()
                group.create_task(self._hear())
                await self._read()
        except BaseExceptionGroup as ends:
            end = door.as_end(ends)
        finally:
            if isinstance(end, Ended):
                await door.close(self._websocket, end, *([encode(end.event)] if end.event else []))

    async def _hello(self) -> None:
        message = protocol.parse(_text(await door.receive(self._websocket)))
        if message["type"] != "openomni.hello":
            raise failure(protocol.BAD_REQUEST, "invalid_event", "a responder's first message is openomni.hello")
        read_hello(message)
        await self._say(encode(welcome()))

    async def _hear(self) -> None:
        heard = site_outputs(self._gateway.bus, self._access.project, self._site)
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
        return self._access.project, self._site, turn_id

    async def _read(self) -> None:
        faults = 0
        while True:
            message = await door.receive(self._websocket)
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
                subject = subjects.live(self._access.project, self._site, token, "in")
                await self._gateway.bus.publish(subject, events.encode(report))
            case other:
                raise ProtocolError("unknown_event", f"a responder sends no {other[:80]!r}", "type")

    async def _tell(self, kind: str, turn_id: str, **fields: str) -> None:
        await self._say(encode({"type": kind, "turn_id": turn_id, **fields}))

    async def _say(self, message: str | bytes) -> None:
        await door.send(self._websocket, message)


def _text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise ProtocolError("invalid_frame", "a responder sends JSON only")
    return message
