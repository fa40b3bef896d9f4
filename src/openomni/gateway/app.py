"""The gateway as an ASGI application: the live doors, the bridge to the bus, and everything else passed on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ..background import Background, troubles
from ..bus.clocksync import serve_clock
from ..bus.connection import Bus, BusError
from ..bus.fleet import Fleet
from ..bus.records import RecordWriter
from .access import Api, Denied
from .listing import models
from .live import LiveSession
from .placing import Placing
from .protocol import FORBIDDEN, failure
from .proxy import Proxy
from .realtime import Conversation, realtime
from .record import Recorder, Tape
from .respond import Spoken, respond
from .settings import SessionSettings
from .sound import Axis
from .tunnel import Tunnel

MAX_CONNECTIONS = 256
"""Of one token, at a time; as many of its sessions may wait for clients that come back."""
PARKED_SECONDS = 15.0
"""How long a session waits for a client whose connection broke."""
SERVING = ("gateway", "bus", "api")
"""The parts without which nobody is served."""
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Left:
    """A session as its client left it. `live` is None where no agent hosts it any more; its recording goes on."""

    settings: SessionSettings | None
    live: LiveSession | None
    tape: Tape | None
    axis: Axis | None


@dataclass(frozen=True, slots=True)
class _Parked:
    conversation: Conversation
    live: LiveSession
    tape: Tape | None
    timer: asyncio.Task[None]

    async def end(self) -> None:
        """The client doesn't come back."""
        await self.live.close()
        if self.tape is not None:
            await self.tape.end()


class Gateway:
    """What the doors share. `async with Gateway(…)` serves at once; the bus may come later."""

    def __init__(
        self, api_url: str, secret: str, bus_urls: Sequence[str], connect: Callable[[], Awaitable[Bus]], spool: Path
    ) -> None:
        self.api = Api(api_url, secret)
        self.proxy = Proxy(api_url, self.api.check_caller)
        self.tunnel = Tunnel(bus_urls)
        self.closing = asyncio.Event()
        """Set when the gateway stops; every session then ends, with a reason."""
        self.conversations: dict[str, Conversation] = {}
        self.spoken = Spoken()
        self.connections: dict[asyncio.Task[Any], str] = {}
        """Open WebSockets, and whose token each has."""
        self._api_url, self._secret, self._connect, self._spool = api_url, secret, connect, spool
        self._bus: Bus | None = None
        self._placing: Placing | None = None
        self._records: RecordWriter | None = None
        self._recorder: Recorder | None = None
        self._parked: dict[str, _Parked] = {}
        self._taking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._running: Background | None = None

    async def __aenter__(self) -> Gateway:
        self._running = Background(self._run, "holding the gateway's connection to the bus")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.closing.set()
        for parked in list(self._parked.values()):
            parked.timer.cancel()
            await parked.end()
        if self._running:
            await self._running.stop()
        await self.proxy.close()
        await self.api.close()

    async def _run(self) -> None:
        """Holds the connection to the bus and what lives on it."""
        bus = await self._connect()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(bus.close)
            clock = await serve_clock(bus)
            stack.push_async_callback(clock.aclose)
            fleet = await stack.enter_async_context(Fleet(bus))
            records = await stack.enter_async_context(RecordWriter(bus, self._spool / "records"))
            recorder = await stack.enter_async_context(
                Recorder(self._spool / "recordings", self._api_url, self._secret, records.write)
            )
            stack.callback(self._forget_bus)
            self._bus, self._placing, self._records, self._recorder = bus, Placing(bus, fleet), records, recorder
            await asyncio.Event().wait()

    def _forget_bus(self) -> None:
        self._bus = self._placing = self._records = self._recorder = None

    @property
    def bus(self) -> Bus:
        return _there(self._bus)

    @property
    def placing(self) -> Placing:
        return _there(self._placing)

    @property
    def records(self) -> RecordWriter:
        return _there(self._records)

    @property
    def recorder(self) -> Recorder:
        return _there(self._recorder)

    @contextlib.contextmanager
    def connection(self, token_id: str) -> Iterator[None]:
        """Holds the stop of the gateway back until this connection has been told of it. Raises `Denied` (429) for one
        too many of a token."""
        task = asyncio.current_task()
        assert task is not None
        if sum(each == token_id for each in self.connections.values()) >= MAX_CONNECTIONS:
            raise Denied(
                429, f"this token has {MAX_CONNECTIONS} connections already; close some, or use another token for more"
            )
        self.connections[task] = token_id
        try:
            yield
        finally:
            del self.connections[task]

    # ---- sessions whose client is away for a moment ----

    def park(self, conversation: Conversation, live: LiveSession, tape: Tape | None) -> bool:
        """Keeps a session alive, and its recording open, for `PARKED_SECONDS`, for its client to come back to. False
        where too many of that client wait already."""
        token_id = conversation.access.token_id
        if sum(each.conversation.access.token_id == token_id for each in self._parked.values()) >= MAX_CONNECTIONS:
            return False
        timer = asyncio.create_task(self._give_up(conversation.session_id))
        self._parked[conversation.session_id] = _Parked(conversation, live, tape, timer)
        return True

    async def _give_up(self, session_id: str) -> None:
        await asyncio.sleep(PARKED_SECONDS)
        try:
            await self._parked.pop(session_id).end()
        except Exception:
            log.exception("session %s, whose client stayed away, did not end in order", session_id)

    async def take_over(self, conversation: Conversation) -> Left | None:
        """The session that this client left a moment ago, or holds on a connection that it has given up; from here on
        this connection holds it.

        Raises `Ended` when it is another client's.
        """
        # One after the other: of two that come back at once, the later one takes it from the earlier.
        lock = self._taking.setdefault(conversation.session_id, asyncio.Lock())
        async with lock:
            left = await self._take_over(conversation)
            self.conversations[conversation.session_id] = conversation
        return left

    async def _take_over(self, conversation: Conversation) -> Left | None:
        session_id = conversation.session_id
        earlier = self.conversations.get(session_id)
        parked = self._parked.get(session_id)
        holder = earlier or (parked and parked.conversation)
        if holder and not holder.belongs_to(conversation.access):
            raise failure(FORBIDDEN, "session_taken", f"the session {session_id!r} is another client's; make a new id")
        if earlier is not None:
            earlier.replace()
            await earlier.ended.wait()
        if session_id not in self._parked:
            return None
        left = self._parked.pop(session_id)
        left.timer.cancel()
        if not left.live.hosted:
            await left.live.close()
        live = left.live if left.live.hosted else None
        return Left(left.conversation.settings, live, left.tape, left.conversation.axis)

    # ---- health ----

    async def health(self) -> dict[str, str]:
        bus = self._bus is not None and self._bus.connected.is_set()
        api = await self.api.alive()
        parts = {"gateway": "ok", "bus": "ok" if bus else "away", "api": "ok" if api else "away"}
        return troubles() | parts


def _there(part: T | None) -> T:
    if part is None:
        raise BusError("the bus is not answering; try again in a moment")
    return part


async def healthz(request: Request) -> Response:
    """200 when all parts answer, else 503; says which, and what else does not run at this moment, and why."""
    health = await request.app.state.gateway.health()
    return JSONResponse(health, 200 if all(health[part] == "ok" for part in SERVING) else 503)


async def bus(websocket: WebSocket) -> None:
    await websocket.app.state.gateway.tunnel(websocket)


async def everything_else(request: Request) -> Response:
    return await request.app.state.gateway.proxy(request)  # type: ignore[no-any-return]


def application(gateway: Callable[[], Gateway]) -> Starlette:
    """The application; `gateway` is made when it starts."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with gateway() as app.state.gateway:
            yield

    return Starlette(
        lifespan=lifespan,
        routes=[
            WebSocketRoute("/v1/realtime", realtime),
            WebSocketRoute("/v1/respond", respond),
            WebSocketRoute("/bus", bus),
            Route("/healthz", healthz),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", models),
            Route("/{path:path}", everything_else, methods=METHODS),
        ],
    )
