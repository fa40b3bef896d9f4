"""The WebSocket to the gateway: handshake of versions, clock sync, and coming back after a break."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from .. import clock, installs
from ..proxies import proxy_for
from ..storage.api import Refused, Unreachable, address, delays, headers, refusal, unreachable_line
from ..storage.http import tls
from ..version import __version__, numbers, too_old, upgrade_line
from .wire import Playback, ReplyChunk

log = logging.getLogger(__name__)

OPEN_S = 10.0
PING_EVERY_S = 2.0
FIRST_PINGS = 5
REPORTED = 8
"""Replies whose newest playback report is told again after a break."""
NORMAL = 1000
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
FINAL_CODES = {1003, 1007, 1008, 4400, 4401, 4403, 4404, 4426}
"""Close codes that say no, those from 4400 on as HTTP would; after any other the gateway may be asked again."""


@dataclass(frozen=True, slots=True)
class Up:
    """The link stands again, after a break. `resumed`: the session was found as we left it, settings and all.
    `again_from`: a sample; who hears us now has not heard what we said from there on, and nobody has answered it."""

    resumed: bool = False
    again_from: int | None = None


@dataclass(frozen=True, slots=True)
class Down:
    """The link broke; it is being made again."""

    reason: str


Received = dict[str, Any] | ReplyChunk | Up | Down


class Link:
    """A connection to `path` of the gateway that says `hello` and outlives breaks. Use it as a context.

    Entering it makes the first connection, or raises `Unreachable` or `Refused`; `run` receives until `close`.
    """

    def __init__(self, server: str, token: str, path: str, hello: dict[str, Any]) -> None:
        self.server = address(server)
        self.offset = clock.Offset()
        """From this clock to the gateway's."""
        self.patience_s: float | None = None
        """How long a break may last; None: for ever."""
        self.session_id = ""
        """The session that the gateway gave us; after a break we ask for the same."""
        self._up = Up()
        self._url = address(server, "ws") + path
        self._headers = headers(token)
        self._hello = {"type": "openomni.hello", "version": __version__, **hello}
        self._estimator = clock.OffsetEstimator()
        self._socket: ClientConnection | None = None
        self._latest: ClientConnection | None = None
        """That one, and still when whoever received from it was cancelled: it is said goodbye to."""
        self._early: list[str | bytes] = []
        """What came while the clocks were compared."""
        self._reports: dict[str, Playback] = {}
        """The newest of each of the last turns."""
        self._closing = asyncio.Event()

    @property
    def up(self) -> bool:
        return self._socket is not None

    async def send(self, message: dict[str, Any] | bytes) -> bool:
        """Sends an event or a binary frame; False when the link is down and it was not sent."""
        socket = self._socket
        if socket is None:
            return False
        try:
            await _send(socket, message)
        except ConnectionClosed:
            self._lost()
            return False
        return True

    async def report(self, playback: Playback) -> None:
        """Tells how far a reply was played, now or when the link stands again. Which reports a break swallowed nobody
        knows, so the newest of each of the last turns is told again after it; coming twice, it counts once."""
        self._reports.pop(playback.turn_id, None)
        self._reports[playback.turn_id] = playback
        while len(self._reports) > REPORTED:
            del self._reports[next(iter(self._reports))]
        await self.send(playback.message)

    async def run(self, receive: Callable[[Received], None]) -> None:
        """Hands over all that comes until `close`, or a normal close by the gateway. Raises Refused when it will not
        have us back, and Unreachable when a break outlasts `patience_s`."""
        while not self._closing.is_set():
            socket = self._socket
            reason = await self._serve(socket, receive) if socket else "the connection was closed"
            if self._closing.is_set() or (socket and socket.close_code == NORMAL):
                return
            receive(Down(reason))
            await self._come_back()
            if self._socket is not None:
                receive(self._up)

    async def close(self) -> None:
        self._closing.set()
        socket = self._latest
        self._lost()
        if socket is not None:
            await socket.close()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(OPEN_S):
                socket = await connect(
                    self._url, additional_headers=self._headers, compression=None, max_size=MAX_MESSAGE_BYTES,
                    ssl=tls() if self._url.startswith("wss:") else None, ping_interval=5.0, ping_timeout=10.0,
                    close_timeout=2.0, proxy=proxy_for(self._url),
                )  # fmt: skip
        except InvalidStatus as no:
            raise refusal(self.server, no.response.status_code, bytes(no.response.body or b"")) from None
        except (OSError, WebSocketException, TimeoutError) as error:
            raise Unreachable(unreachable_line(self.server, error)) from None
        try:
            async with asyncio.timeout(OPEN_S):
                await self._shake_hands(socket)
                await self._first_pings(socket)
        except ConnectionClosed as closed:
            raise self._closed(closed) from None
        except TimeoutError:
            await socket.close()
            raise Unreachable(f"{self.server} accepts the connection but does not answer; is it OpenOmni?") from None
        except BaseException:
            await socket.close()
            raise
        with suppress(ConnectionClosed):
            await self._report_again(socket)
        self._socket = self._latest = socket

    async def _report_again(self, socket: ClientConnection) -> None:
        """What comes meanwhile included: it finds no link yet."""
        told: dict[str, Playback] = {}
        while untold := [each for turn_id, each in self._reports.items() if told.get(turn_id) is not each]:
            for playback in untold:
                await _send(socket, playback.message)
                told[playback.turn_id] = playback

    def _lost(self) -> None:
        self._socket = None

    async def _shake_hands(self, socket: ClientConnection) -> None:
        await _send(socket, self._hello)
        while True:
            answer = _event(await socket.recv())
            match answer.get("type"):
                case "openomni.welcome":
                    break
                case "error":
                    error = answer.get("error") or {}
                    line = str(error.get("message") or "the gateway refuses the session")
                    raise Unreachable(line) if error.get("type") == "server_error" else Refused(line, 400)
        again_from = answer.get("again_from")
        self._up = Up(bool(answer.get("resumed")), again_from if isinstance(again_from, int) else None)
        if answer.get("session_id"):
            self.session_id = self._hello["session_id"] = str(answer["session_id"])
        oldest, theirs = str(answer.get("min_version") or "0"), str(answer.get("version") or "")
        if numbers(oldest) > numbers(__version__):
            raise Refused(f"{self.server} needs OpenOmni {oldest} or later and this is {__version__}; upgrade it "
                          f"({installs.UPGRADE})", 426)  # fmt: skip
        if theirs and too_old(theirs):
            raise Refused(upgrade_line(theirs, f"the gateway at {self.server}", "this client"), 426)

    async def _first_pings(self, socket: ClientConnection) -> None:
        """The clocks are compared before anything is sent, so that the first stamp is right already."""
        self._estimator = clock.OffsetEstimator()  # it may be another gateway than before
        with suppress(ConnectionClosed):  # which is for `run` to find, after what came before it
            for _ in range(FIRST_PINGS):
                await _send(socket, {"type": "openomni.ping", "sent": clock.now()})
                while not self._pong(data := await socket.recv()):
                    self._early.append(data)
            await self._tell_clock(socket)

    async def _serve(self, socket: ClientConnection, receive: Callable[[Received], None]) -> str:
        """Receives until the connection is gone, and says why."""
        pings = asyncio.create_task(self._keep_clock(socket))
        try:
            early, self._early = self._early, []
            for data in early:
                receive(_message(data))
            async for data in socket:
                if not self._pong(data):
                    receive(_message(data))
            return "the gateway closed the connection"
        except ConnectionClosed as closed:
            if (error := self._closed(closed)) and isinstance(error, Refused):
                raise error from None
            return str(error)
        finally:
            self._lost()
            pings.cancel()

    async def _keep_clock(self, socket: ClientConnection) -> None:
        told = self.offset
        try:
            while True:
                await asyncio.sleep(PING_EVERY_S)
                await _send(socket, {"type": "openomni.ping", "sent": clock.now()})
                if self.offset != told:
                    await self._tell_clock(socket)
                    told = self.offset
        except ConnectionClosed:
            return

    async def _tell_clock(self, socket: ClientConnection) -> None:
        await _send(socket, {"type": "openomni.clock", "offset": self.offset.seconds,
                             "uncertainty": self.offset.uncertainty})  # fmt: skip

    def _pong(self, data: str | bytes) -> bool:
        """Takes it when it is the answer to a ping."""
        if isinstance(data, bytes) or '"openomni.pong"' not in data[:64]:
            return False
        event = _event(data)
        self._estimator.add(event["sent"], event["received"], event["sent_back"], clock.now())
        # It is told with the next ping, and the gateway goes by it until the one after that.
        self.offset = self._estimator.at(clock.now() + 2 * PING_EVERY_S) or self.offset
        return True

    async def _come_back(self) -> None:
        started, waits = clock.now(), delays()
        while not self._closing.is_set():
            try:
                await self._open()
                return
            except Unreachable as error:
                log.debug("not back yet: %s", error)
                if self.patience_s is not None and clock.now() - started > self.patience_s:
                    raise
            try:
                async with asyncio.timeout(next(waits)):
                    await self._closing.wait()
            except TimeoutError:
                continue

    def _closed(self, closed: ConnectionClosed) -> Unreachable | Refused:
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
        if code in FINAL_CODES:
            return Refused(reason or f"{self.server} ended the session (code {code})", code)
        return Unreachable(reason or f"the connection to {self.server} broke (code {code})")


async def _send(socket: ClientConnection, message: dict[str, Any] | bytes) -> None:
    await socket.send(message if isinstance(message, bytes) else msgspec.json.encode(message).decode())


def _message(data: str | bytes) -> Received:
    return ReplyChunk.unpack(data) if isinstance(data, bytes) else _event(data)


def _event(data: str | bytes) -> dict[str, Any]:
    return msgspec.json.decode(data, type=dict[str, Any])
