"""One session and its host: input goes there, output comes back, and when the host dies another one takes over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .. import events
from ..bus import subjects
from ..bus.connection import Bus, BusError
from ..bus.sessions import OpenSession, PeerLost
from ..events import (
    AXIS_RATE,
    AudioEnd,
    AudioIn,
    Commit,
    ReplyEnd,
    SessionClose,
    SessionEnded,
    SessionInput,
    SessionOutput,
    SpeechStopped,
    TextIn,
    TurnDone,
)
from ..records import AnyRecord, SessionRecord, later_version
from .access import ResolvedPipeline
from .placing import Link, Needs, NoAgent, Placing

log = logging.getLogger(__name__)

KEPT_SECONDS = 30.0
"""How much of the unanswered input is kept, to tell it to another host."""
KEPT_INPUTS = 8192
"""And how many pieces of it."""
WAIT_PATIENCE = 600.0
"""Seconds that a client that asked for it waits for its first host."""
TAKEOVER_PATIENCE = 30.0
"""Seconds that a new host is looked for after one died."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What a session is, whoever hosts it."""

    session_id: str
    project: str
    site: str
    room: str
    """What stands for the site in its subjects: whoever plays there hears it."""
    device: str
    made_by: str
    pipeline: ResolvedPipeline
    needs: Needs
    source: str
    recording: str
    participant: str = ""
    consent: str = ""
    context: str = ""
    origin: str = ""

    def opening(self, settings: dict[str, Any], again: bool) -> OpenSession:
        """What a host is asked. `again`: the session was hosted before, by an agent that may only have been cut off;
        on subjects of their own nobody hears the old one when it comes back."""
        token = f"{self.session_id}-r{secrets.token_hex(3)}" if again else self.session_id
        return OpenSession(
            session_id=self.session_id, project=self.project, site=self.site, device=self.device,
            made_by=self.made_by, pipeline=self.pipeline.name, pipeline_hash=self.pipeline.hash,
            spec=self.pipeline.spec, source=self.source, recording=self.recording,
            settings={**settings, "resumed": again}, origin=self.origin,
            participant=self.participant, consent=self.consent, context=self.context,
            input=subjects.live(self.project, self.room, token, "in"),
            output=subjects.live(self.project, self.room, token, "out"),
        )  # fmt: skip

    def lost(self, reason: str) -> SessionRecord:
        """The end of a session that no host lives to record."""
        return SessionRecord(
            project=self.project, version=later_version(), session_id=self.session_id, pipeline=self.pipeline.name,
            pipeline_hash=self.pipeline.hash, spec=self.pipeline.spec, device=self.device, site=self.site,
            made_by=self.made_by, source=self.source, status="lost", ended_at=time.time(), reason=reason,
            recordings=[self.recording] if self.recording else [],
            participant=self.participant, consent=self.consent, context=self.context,
        )  # fmt: skip


def session_of(token: str) -> str:
    """The session id of a subject's token."""
    return re.sub(r"-r[0-9a-f]{6}$", "", token)


@dataclass(frozen=True, slots=True)
class HostLost:
    """The host died; another one is looked for."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Another host goes on with the session."""


class Backlog:
    """The input that no turn has answered yet, bounded; a new host is told it again."""

    def __init__(self) -> None:
        self._inputs: deque[SessionInput] = deque()
        self._samples = 0
        self._answered = 0

    def add(self, event: SessionInput) -> None:
        if isinstance(event, AudioIn) and event.position + _samples(event) <= self._answered:
            return
        if isinstance(event, AudioIn | Commit | TextIn | AudioEnd):
            self._inputs.append(event)
            self._samples += _samples(event)
            while self._samples > KEPT_SECONDS * AXIS_RATE or len(self._inputs) > KEPT_INPUTS:
                self._samples -= _samples(self._inputs.popleft())

    def answered(self, position: int) -> None:
        """What lies before `position` needs no answer any more."""
        self._answered = max(self._answered, position)
        while self._inputs and not isinstance(self._inputs[0], AudioEnd):
            first = self._inputs[0]
            if isinstance(first, AudioIn) and first.position + _samples(first) > self._answered:
                return
            self._samples -= _samples(self._inputs.popleft())

    def __iter__(self) -> Iterator[SessionInput]:
        return iter(tuple(self._inputs))


class HostedSession:
    """Place it, then `send` inputs and iterate over `outputs`; `close` tells the host that the client left.

    `record` keeps the end of a session whose host died; a host that lives does so itself.
    """

    def __init__(
        self, bus: Bus, placing: Placing, plan: SessionPlan, settings: Callable[[], dict[str, Any]],
        record: Callable[[AnyRecord], None],
    ) -> None:  # fmt: skip
        self._bus, self._placing, self.plan, self._settings = bus, placing, plan, settings
        self._record = record
        self._backlog = Backlog()
        self._open: dict[str, int] = {}
        self._host = ""
        self._opening: OpenSession | None = None
        self._link: Link | None = None
        self._placed = asyncio.Event()
        self._ended = False

    @property
    def hosted(self) -> bool:
        """Whether it has a host now."""
        return self._placed.is_set() and not self._ended

    async def place(self, *, wait: bool, again: bool = False) -> None:
        """Finds a host. `again`: the client says that the session existed before. Raises `NoAgent`."""
        again = again or self._opening is not None
        self._opening = self.plan.opening(self._settings(), again)
        try:
            async with asyncio.timeout(WAIT_PATIENCE):
                self._host, self._link = await self._placing.place(
                    self._opening, self.plan.needs, wait, avoid=self._host
                )
        except TimeoutError:
            raise NoAgent(f"no agent came within {WAIT_PATIENCE / 60:.0f} minutes; start one") from None
        for event in self._backlog:
            await self._pass_on(event)
        self._placed.set()

    async def send(self, event: SessionInput) -> None:
        """Waits while there is no host, or while the bus is away: input is never dropped."""
        if not self._placed.is_set():
            await self._placed.wait()
        self._backlog.add(event)
        await self._pass_on(event)

    async def _pass_on(self, event: SessionInput) -> None:
        assert self._link is not None
        while True:
            try:
                return await self._link.send(event)
            except BusError:
                if self._bus.connected.is_set():
                    raise
                await self._bus.connected.wait()

    async def outputs(self) -> AsyncIterator[SessionOutput | HostLost | Resumed]:
        """Ends with `SessionEnded`. Raises NoAgent when a dead host finds no successor, Overflow for a slow reader."""
        while True:
            await self._placed.wait()
            assert self._link is not None
            watch = asyncio.create_task(self._watch(self._link), name="host watch")
            try:
                async for output in self._link:
                    self._note(output)
                    yield output
                    if self._ended:
                        return
            except PeerLost:
                log.info("session %s: its host fell silent", self.plan.session_id)
            finally:
                watch.cancel()
            if self._ended:
                return
            self._placed.clear()
            await self._link.aclose()
            reason = f"agent {self._host[:8]} that hosted the session is gone"
            log.warning("session %s: %s", self.plan.session_id, reason)
            for end in await self._give_up(reason):
                yield end
            yield HostLost(reason)
            try:
                async with asyncio.timeout(TAKEOVER_PATIENCE):
                    await self.place(wait=True)
            except TimeoutError:
                self._record(self.plan.lost(reason))
                raise NoAgent(f"{reason}, and no other took it within {TAKEOVER_PATIENCE:.0f} s") from None
            yield Resumed()

    async def _watch(self, link: Link) -> None:
        """Ends the iteration over what the host says once it is gone."""
        while not self._placing.gone(self._host):
            await self._placing.changed()
        await link.aclose()

    async def _give_up(self, reason: str) -> list[SessionOutput]:
        """Ends the replies that the dead host left open, for the responders too."""
        ends: list[SessionOutput] = [ReplyEnd(turn_id, "failed", reason) for turn_id in self._open]
        self._open.clear()
        with contextlib.suppress(BusError):
            for end in ends:
                assert self._opening is not None
                await self._bus.publish(self._opening.output, events.encode(end))
        return ends

    def _note(self, output: SessionOutput) -> None:
        match output:
            case SpeechStopped():
                self._open[output.turn_id] = output.position
            case ReplyEnd():
                self._backlog.answered(self._open.pop(output.turn_id, 0))
            case TurnDone():
                self._open.pop(output.turn_id, None)
            case SessionEnded():
                self._ended = True

    async def close(self) -> None:
        """Tells the host, once; outputs that are still under way are not waited for."""
        link, self._link = self._link, None
        if link is None:
            return
        with contextlib.suppress(BusError):
            if not self._ended:
                await link.send(SessionClose())
        self._ended = True
        await link.aclose()


def _samples(event: SessionInput) -> int:
    return len(event.pcm) // 2 if isinstance(event, AudioIn) else 0
