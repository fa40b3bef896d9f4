"""`/v1/realtime?model=<pipeline>`: a client's conversation, in the events of the OpenAI Realtime protocol and ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..errors import OpenOmniError
from ..events import AudioIn, CameBack, PictureIn, SessionEnded, SessionInput
from ..pipeline import spec
from . import connection, protocol
from .access import Access, AccessDenied, ApiAway, ResolvedPipeline
from .client_events import ClientEvents
from .held_session import SessionPlan
from .hello import ClientHello, new_session_id, read_hello, welcome
from .hosted_session import HostedSession, HostLost, Resumed
from .input_audio import Axis
from .live_sessions import taken
from .placing import Needs, no_agent_line
from .protocol import Ended, ProtocolError, encode, failure
from .realtime_settings import RealtimeSettings
from .server_events import AudioForm, ServerEvents
from .services import Gateway
from .sound_recording import SoundRecording

log = logging.getLogger(__name__)

HELLO_PATIENCE = 1.0
"""Seconds that a client without a hello is waited for before it is told that no agent is there."""
MAX_FAULTS = 200
"""Messages in error, with no good one between them, after which a client is sent away."""


async def realtime(websocket: WebSocket) -> None:
    """The endpoint."""
    gateway: Gateway = websocket.app.state.gateway
    async with connection.admit(gateway, websocket, "device", "agent") as admitted:
        if admitted is not None:
            await RealtimeConnection(gateway, websocket, *admitted).run()


class RealtimeConnection:
    """One WebSocket of one client; the session behind it may outlive it for a moment."""

    def __init__(self, gateway: Gateway, websocket: WebSocket, token: str, access: Access) -> None:
        self._gateway, self._websocket, self._token, self.access = gateway, websocket, token, access
        self.session_id = new_session_id()
        self.ended = asyncio.Event()
        self.settings: RealtimeSettings | None = None
        self._opted_in = False
        self._live: HostedSession | None = None
        self._taken: ClientEvents | None = None
        self._recording: SoundRecording | None = None
        """The recording of a client that has no spool; it goes on when the client comes back."""
        self._replaced = asyncio.Event()

    async def run(self) -> None:
        """From the accepted connection to its close."""
        end: Ended | WebSocketDisconnect = Ended(protocol.RESTARTING, "the gateway is stopping")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(connection.watch(self._gateway, self._token))
                group.create_task(self._until_replaced())
                await self._converse(group)
        except BaseExceptionGroup as ends:
            end = connection.as_end(ends)
        finally:
            await self._finish(end)

    def belongs_to(self, access: Access) -> bool:
        """Whether that is the same client: the device of the token, the very token, or another one that the same person
        made for themself on a page."""
        mine = self.access
        if mine.device or access.device:
            same = access.device == mine.device
        else:
            same = access.token_id == mine.token_id or bool(mine.person and access.person == mine.person)
        return same and access.project == mine.project

    async def check_opening(self) -> None:
        """Raises `Ended` when a session of that id, which no connection has, is another client's."""
        waits, theirs = self._gateway.journal.begun_by(self.session_id, self.access)
        try:
            known = await self._gateway.api.check_opening(self._token, self.session_id)
        except AccessDenied:
            raise taken(self.session_id) from None
        except ApiAway:
            if not theirs:
                raise
        else:
            if waits and not theirs and not known:
                raise taken(self.session_id)  # its records are still on their way

    @property
    def axis(self) -> Axis | None:
        """The session's, once it has begun."""
        return self._taken.axis if self._taken else None

    def replace(self) -> None:
        """The same session came back on another connection, which goes on with it."""
        self._replaced.set()

    async def _until_replaced(self) -> None:
        await self._replaced.wait()
        raise Ended(protocol.NORMAL, "the session goes on on another connection")

    # ---- the beginning ----

    async def _converse(self, group: asyncio.TaskGroup) -> None:
        resolved = await self._resolve()
        needs = spec.parse(resolved.spec, resolved.name).needs
        settings = RealtimeSettings(self.session_id, resolved.name)
        ours = "openomni-version" in self._websocket.headers
        if not ours:
            await self._say(encode({"type": "session.created", "event_id": protocol.new_id("event"),
                                    "session": settings.session()}))  # fmt: skip
        first, hello = await self._first(resolved, needs, ours)
        _check_cell(self.access, hello)
        if hello is not None:
            self._opted_in = True
            self.session_id = settings.session_id = hello.session_id or self.session_id
        found = await self._gateway.sessions.take_over(self) if hello and hello.session_id else None
        if found is not None:
            self._live, self._recording = found.live, found.recording
        resumed = False
        if found is not None and found.live is not None:
            settings, resumed = found.settings or settings, True
        self.settings = settings
        events = ServerEvents(self.session_id, _audio_form(hello), self._opted_in)
        events.turns.follow(settings)
        if hello is not None:
            again_from = None if resumed else self._gateway.journal.answered(self.session_id)
            await self._say(encode(welcome(self.session_id, resumed, again_from)))
            await self._say(events.event("session.created", session=settings.session()))
        self._gateway.sessions.hold(self)  # one that took nothing over begins it
        if self._live is None:
            self._live = await self._session(resolved, needs, hello, settings)
            group.create_task(self._live.place(wait=self._waits(hello), again=bool(hello and hello.session_id)))
        self._taken = ClientEvents(
            settings, events, self._to_host, self._say, self._opted_in, found.axis if found else None
        )
        group.create_task(self._tell(self._live, events))
        if resumed:
            await self._to_host(CameBack())
        await self._read(self._taken, first)

    async def _resolve(self) -> ResolvedPipeline:
        name = self._websocket.query_params.get("model", "")
        try:
            return await self._gateway.api.pipeline(self.access.project, name)
        except AccessDenied as no:
            raise failure(protocol.NOT_FOUND, "unknown_pipeline", str(no)) from None

    async def _first(
        self, resolved: ResolvedPipeline, needs: Needs, ours: bool
    ) -> tuple[str | bytes | None, ClientHello | None]:
        """The first message when it is no hello, and the hello when it is. Says at once when no agent is there."""
        missing = await self._gateway.placing.missing(self.access.project, needs)
        if resolved.faults and not missing:
            # While agents are missing, what they offer may be unknown only so far.
            raise failure(protocol.BAD_REQUEST, "pipeline_faulty", f"{resolved.name!r} can't run: {resolved.faults[0]}")
        hurry = bool(missing) and not ours and not self._waits(None)
        message: str | bytes | None
        try:
            async with asyncio.timeout(HELLO_PATIENCE if hurry else None):
                message = await connection.receive(self._websocket)
        except TimeoutError:
            message = None
        hello = await self._hello(message)
        if missing and not self._waits(hello):
            raise failure(protocol.UNAVAILABLE, "no_agent", no_agent_line(resolved.name, missing))
        return (message if hello is None else None), hello

    async def _hello(self, message: str | bytes | None) -> ClientHello | None:
        """None when the message is something else, or wrong: then it is answered like any other."""
        try:
            parsed = protocol.parse(message) if isinstance(message, str) else {}
        except ProtocolError:
            return None
        if parsed.get("type") != "openomni.hello":
            return None
        try:
            return read_hello(parsed)
        except ProtocolError as fault:
            raise failure(protocol.BAD_REQUEST, fault.code, fault.message) from None

    def _waits(self, hello: ClientHello | None) -> bool:
        header = self._websocket.headers.get("openomni-wait-for-agent", "")
        return header.lower() in ("1", "true") or bool(hello and hello.wait_for_agent)

    async def _session(
        self, resolved: ResolvedPipeline, needs: Needs, hello: ClientHello | None, settings: RealtimeSettings
    ) -> HostedSession:
        access = self.access
        source = hello.source if hello else "realtime"
        site = connection.site(self._websocket, access)
        recording = hello.recording_id if hello and hello.recording_id else await self._record(source, site)
        plan = SessionPlan(
            session_id=self.session_id, project=access.project, site=site, room=connection.room(site, access),
            device=access.device or "", made_by=access.token_id, pipeline=resolved, needs=needs, source=source,
            recording=recording, **_told(hello),
        )  # fmt: skip
        gateway = self._gateway
        held, sound = gateway.journal.take(plan)
        return HostedSession(
            gateway.bus, gateway.placing, held, _host_settings(settings), gateway.records.write, gateway.journal, sound
        )

    async def _record(self, source: str, site: str) -> str:
        """Begins the recording of a client that has no spool, or goes on with it, and gives its id; empty when the disk
        takes none."""
        try:
            self._recording = self._recording or await self._gateway.recorder.begin(
                project=self.access.project, session_id=self.session_id, site=site,
                device=self.access.device or "", made_by=self.access.token_id, source=source,
            )  # fmt: skip
        except OpenOmniError as error:
            log.error("session %s is not recorded: %s", self.session_id, error)
            return ""
        return self._recording.id

    # ---- both ways ----

    async def _read(self, taken: ClientEvents, first: str | bytes | None) -> None:
        faults = 0
        message = first if first is not None else await connection.receive(self._websocket)
        while True:
            try:
                if isinstance(message, str):
                    await taken.text(message)
                else:
                    await taken.binary(message)
                faults = 0
            except ProtocolError as fault:
                faults += 1
                if faults > MAX_FAULTS:
                    raise Ended(protocol.FLOODING, "too many messages in error") from None
                await self._say(fault.event)
            message = await connection.receive(self._websocket)

    async def _to_host(self, event: SessionInput) -> None:
        assert self._live is not None
        if self._recording is not None:
            match event:
                case AudioIn():
                    self._recording.add(event.position, event.pcm)
                    self._live.held.position = self._recording.position
                case PictureIn():
                    self._recording.see(event.position, event.jpeg)
        await self._live.send(event)

    async def _say(self, message: str | bytes) -> None:
        await connection.send(self._websocket, message)

    async def _tell(self, live: HostedSession, events: ServerEvents) -> None:
        """Passes on what the host says until the session ends."""
        async for output in live.outputs():
            match output:
                case SessionEnded():
                    raise Ended(protocol.NORMAL, output.reason)
                case HostLost():
                    await self._say(encode(protocol.error("host_lost", output.reason, kind="server_error")))
                    await self._say_ours("openomni.session.ended", reason=output.reason, resuming=True)
                case Resumed():
                    events.turns.host_lost()
                    await self._say_ours("openomni.session.resumed")
                case _:
                    for message in events.tell(output):
                        await self._say(message)

    async def _say_ours(self, kind: str, **fields: Any) -> None:
        if self._opted_in:
            await self._say(encode({"type": kind, "session_id": self.session_id, **fields}))

    # ---- the end ----

    async def _finish(self, end: Ended | WebSocketDisconnect) -> None:
        left = isinstance(end, WebSocketDisconnect)
        recording, self._recording = self._recording, None
        self._gateway.sessions.let_go(self)
        if self._live is not None:
            # Who gets a token of their own on a page gets the next one there, and goes on with it.
            expired = not left and bool(self.access.person) and self.access.seconds_left <= 0
            comes_back = self._replaced.is_set() or expired or (left and end.code not in connection.LEFT_FOR_GOOD)
            if self._opted_in and comes_back and self._gateway.sessions.park(self, self._live, recording):
                recording = None
            elif self._opted_in and isinstance(end, Ended) and end.code == protocol.RESTARTING:
                await self._live.leave()
            else:
                await self._live.close()
        self.ended.set()
        if recording is not None:
            await recording.end()
        if isinstance(end, Ended):
            events = [encode(end.event)] if end.event else []
            if self._opted_in:
                reason = protocol.error_message(end.event) or end.reason
                events.append(encode({"type": "openomni.session.ended", "reason": reason}))
            await connection.close(self._websocket, end, *events)


def _check_cell(access: Access, hello: ClientHello | None) -> None:
    """The sessions of an experiment's cells are opened by agents, and agents open no others. Raises `Ended`."""
    cell = hello is not None and bool(hello.cell) and hello.origin == "experiment"
    if hello is not None and hello.cell and not (cell and access.has("agent")):
        raise failure(
            protocol.FORBIDDEN, "no_cell",
            "a session of a cell is opened by an agent that has the role `caller`, with the origin `experiment`; "
            "leave `cell` out",
        )  # fmt: skip
    if not cell and not access.has("device"):
        raise failure(
            protocol.FORBIDDEN, "missing_scope",
            "this token opens sessions for cells of experiments alone; make one with the scope `device`",
        )  # fmt: skip


def _told(hello: ClientHello | None) -> dict[str, str]:
    """What the client says of its session."""
    names = ("participant", "consent", "context", "origin", "cell") if hello else ()
    return {name: getattr(hello, name) for name in names}


def _audio_form(hello: ClientHello | None) -> AudioForm:
    if hello is None:
        return "base64"
    return hello.audio if hello.output else "none"


def _host_settings(settings: RealtimeSettings) -> Callable[[], dict[str, Any]]:
    """What differs from the pipeline's own settings."""

    def changed() -> dict[str, Any]:
        fields = msgspec.structs.asdict(settings.change)
        return {name: value for name, value in fields.items() if value is not None}

    return changed
