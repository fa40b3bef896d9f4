"""Live sessions: the gateway opens one on an agent that hosts, and both talk over a link of their own.

A link carries `SessionInput` one way and `SessionOutput` the other, in order. Each side sends a sign of life when it
has nothing to say; a side that hears nothing for `silence` seconds, though the bus is there, gets `PeerLost`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, Self, TypeVar

import msgspec
from nats.aio.msg import Msg

from .. import clock, events
from ..background import Background
from ..events import SessionInput, SessionOutput
from ..version import __version__, too_old, upgrade_line
from . import subjects, wire
from .connection import Bus, BusError
from .subscription import Subscription

log = logging.getLogger(__name__)

BEAT = 1.0
SILENCE = 3.5
FIRST_WORD = 30.0
"""Seconds that the other side may take to open its end and say its first word."""
BUFFER = 8192
"""Events that may wait on one side: at 20 ms of sound each, more than two minutes."""

Sent = TypeVar("Sent", bound=events.Event)
Received = TypeVar("Received", bound=events.Event)


class UnfinishedUtterance(msgspec.Struct):
    """An utterance that another host heard begin, at sample `start`, and did not answer; `end`: just past its last
    sample of speech, where that was decided."""

    turn_id: str
    start: int
    end: int | None = None


class OpenSession(msgspec.Struct, kw_only=True, tag="session.open"):
    """Asks an agent to host a live session; `input` and `output` are the subjects of its link."""

    session_id: str
    project: str
    site: str = ""
    device: str = ""
    made_by: str = ""
    """The id of the token that it is opened with."""
    pipeline: str
    pipeline_hash: str
    spec: dict[str, Any]
    source: str = ""
    recording: str = ""
    position: int = 0
    """Where the recording's first sample lies on the session's axis."""
    origin: str = ""
    """One of `records.Origin`; empty: as the source says."""
    participant: str = ""
    consent: str = ""
    context: str = ""
    cell: str = ""
    """That of an experiment, by its id."""
    settings: dict[str, Any] = {}
    unfinished: list[UnfinishedUtterance] = []
    """Whoever hears these again answers them as the turns that they are."""
    input: str = ""
    output: str = ""
    version: str = ""
    """Of the gateway that asks; filled in on the way."""

    def __post_init__(self) -> None:
        self.input = self.input or subjects.live(self.project, self.site, self.session_id, "in")
        self.output = self.output or subjects.live(self.project, self.site, self.session_id, "out")


class SessionOpened(msgspec.Struct, tag="session.opened"):
    """The agent hosts it and listens on the input subject."""

    agent_id: str


class SessionRefused(msgspec.Struct, tag="session.refused"):
    """It does not; the gateway asks another agent."""

    agent_id: str
    reason: str


class HostRefused(BusError):
    """The agent that was asked does not host the session."""


class PeerLost(BusError):
    """The other side of a link fell silent; `since`: when it was heard last, on this machine's clock."""

    def __init__(self, message: str, since: float | None = None) -> None:
        super().__init__(message)
        self.since = since


_encode = msgspec.msgpack.Encoder().encode
_open_decoder = msgspec.msgpack.Decoder(OpenSession)
_answer_decoder = msgspec.msgpack.Decoder(SessionOpened | SessionRefused)


async def open_session(bus: Bus, agent_id: str, session: OpenSession, timeout: float = 10.0) -> SessionOpened:
    """Raises HostRefused, or NoAnswer when the agent is not there. Open the gateway's end of the link first."""
    subject = subjects.session(session.project, agent_id)
    asked = msgspec.structs.replace(session, version=__version__)
    message = await bus.request(subject, _encode(asked), timeout)
    try:
        answer: SessionOpened | SessionRefused = _answer_decoder.decode(message.data)
    except msgspec.MsgspecError as error:
        raise HostRefused(f"agent {agent_id} answers as another version does ({error}); upgrade it") from None
    if isinstance(answer, SessionRefused):
        raise HostRefused(f"agent {agent_id} does not host the session: {answer.reason}")
    return answer


async def serve_sessions(
    bus: Bus, project: str, agent_id: str, host: Callable[[OpenSession], Awaitable[SessionOpened | SessionRefused]]
) -> Subscription:
    """Answers who asks this agent to host; `host` opens its end of the link before it says that it is open."""

    async def answer(question: Msg) -> None:
        await bus.respond(question, _encode(await answered(question.data)))

    async def answered(asked: bytes) -> SessionOpened | SessionRefused:
        try:
            session = _open_decoder.decode(asked)
        except msgspec.MsgspecError as error:
            return SessionRefused(agent_id, f"the gateway runs another version ({error}); upgrade the older side")
        if too_old(session.version):
            return SessionRefused(agent_id, upgrade_line(session.version, "the gateway", "this agent"))
        if session.project != project:
            return SessionRefused(agent_id, f"this agent is of project {project}")
        return await host(session)

    subscription = await bus.subscribe(subjects.session(project, agent_id), answer)
    await bus.flush()
    return subscription


class SessionLink(Generic[Sent, Received]):
    """One end of a session's link: iterate over what comes, `send` what goes. Made by `host_end` or `gateway_end`."""

    def __init__(
        self,
        bus: Bus,
        sends_on: str,
        hears_on: str,
        decode: Callable[[bytes], Received],
        beat: float = BEAT,
        silence: float = SILENCE,
    ) -> None:
        self.dropped = 0
        """Events that could not be read, or are of a newer version."""
        self._bus = bus
        self._sends_on = sends_on
        self._hears_on = hears_on
        self._decode = decode
        self._beat = beat
        self._silence = silence
        self._joiner = wire.Joiner()
        self._messages: Subscription | None = None
        self._said = 0.0
        self._heard: float | None = None
        self._watch: Background | None = None
        self._hold = bus.hold()

    async def __aenter__(self) -> Self:
        self._messages = await self._bus.subscribe(self._hears_on, limit=BUFFER)
        try:
            await self._bus.flush()
        except BaseException:
            await self.aclose()
            raise
        self._watch = Background(self._alive, f"the sign of life on {self._sends_on}", longest=self._beat)
        self._hold.__enter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the iteration on this side; the other side is told by an event, or by our silence."""
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.stop()
            self._hold.__exit__(None, None, None)
        if self._messages is not None:
            await self._messages.aclose()

    async def send(self, event: Sent) -> None:
        """Long sound goes in pieces."""
        self._said = clock.now()
        for piece in wire.live_pieces(event):
            await wire.publish(self._bus, self._sends_on, events.encode(piece))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        assert self._messages is not None, "open the link with `async with`"
        while True:
            message = await anext(self._messages)
            self._heard = clock.now()
            try:
                if data := self._joiner.add(message):
                    return self._decode(data)
            except events.UnknownEvent:
                self.dropped += 1
            except (events.WireError, BusError) as error:
                self.dropped += 1
                log.warning("%s: %s", self._hears_on, error)

    async def _alive(self) -> None:
        assert self._messages is not None
        since = clock.now()
        while True:
            now = clock.now()
            if now - self._said >= self._beat and self._bus.connected.is_set():
                self._said = now
                await self._bus.publish(self._sends_on)
            # Before its first word the other side is still opening; without the bus nobody can be heard.
            patience = self._silence if self._heard is not None else max(FIRST_WORD, self._silence)
            if not self._bus.connected.is_set() or self._messages.waiting:
                since = now
            elif now - max(since, self._heard or since) > patience:
                self._messages.fail(PeerLost(f"nothing on {self._hears_on} for {patience:g} s", self._heard))
                return
            await asyncio.sleep(self._beat / 2)


def host_end(bus: Bus, session: OpenSession, **timing: float) -> SessionLink[SessionOutput, SessionInput]:
    """The agent's end: gives inputs, sends outputs."""
    return SessionLink(bus, session.output, session.input, events.decode_input, **timing)


def gateway_end(bus: Bus, session: OpenSession, **timing: float) -> SessionLink[SessionInput, SessionOutput]:
    """The gateway's end: gives outputs, sends inputs."""
    return SessionLink(bus, session.input, session.output, events.decode_output, **timing)


async def site_outputs(
    bus: Bus, project: str, site: str, limit: int = BUFFER
) -> AsyncIterator[tuple[str, SessionOutput]]:
    """What the hosts say in all sessions of a site, with the session's id: for the gateway of a responder."""
    joiners: dict[str, wire.Joiner] = {}
    async with await bus.subscribe(subjects.live(project, site, subjects.ANY, "out"), limit=limit) as messages:
        async for message in messages:
            session_id = message.subject.split(".")[4]
            try:
                data = joiners.setdefault(session_id, wire.Joiner()).add(message)
                output = events.decode_output(data) if data else None
            except events.UnknownEvent:
                continue
            except (events.WireError, BusError) as error:
                log.warning("%s: %s", message.subject, error)
                continue
            if isinstance(output, events.SessionEnded):
                del joiners[session_id]
            if output is not None:
                yield session_id, output
