"""One session and its host: input goes there, output comes back, and when the host dies another one takes over."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import re
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .. import events, records
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
from ..records import AnyRecord
from .held_session import HeldSession
from .placing import HostPlacing, Link, NoHost
from .session_journal import NO_HOST, SessionJournal

log = logging.getLogger(__name__)

STOPS = "its gateway was stopped"
KEPT_SECONDS = 30.0
"""How much of the unanswered input is kept, to tell it to another host."""
KEPT_INPUTS = 8192
"""And how many pieces of it."""
WAIT_PATIENCE = 600.0
"""Seconds that a client that asked for it waits for its first host."""
TAKEOVER_PATIENCE = 30.0
"""Seconds that a new host is looked for after one died."""
KNOWN_EVERY = 2 * AXIS_RATE
"""Samples after which the journal is told how far the session has been heard, though nothing happens in it."""
END_PATIENCE = 60.0
"""Seconds that a host which lives may take to end a session that its client left."""
TOLD_TURNS = 8
"""The newest turns that a host told of as over: should it be gone before it has recorded that, this gateway does."""


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

    def has_room(self, event: AudioIn) -> bool:
        """Whether it can be kept without losing an earlier one."""
        samples = self._samples + _samples(event)
        return samples <= KEPT_SECONDS * AXIS_RATE and len(self._inputs) < KEPT_INPUTS

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

    `held` is what is known of it so far, which the journal keeps; `sound`: what an earlier gateway recorded of it and
    nobody answered. `record` keeps what a host that is gone can't record; one that lives does so itself.
    """

    def __init__(
        self, bus: Bus, placing: HostPlacing, held: HeldSession, settings: Callable[[], dict[str, Any]],
        record: Callable[[AnyRecord], None], journal: SessionJournal, sound: Iterable[AudioIn] = (),
    ) -> None:  # fmt: skip
        self._bus, self._placing, self._settings = bus, placing, settings
        self._record, self._journal = record, journal
        self.held, self.plan = held, held.plan
        self._backlog = Backlog()
        self._backlog.answered(held.answered)
        for event in sound:
            self._backlog.add(event)
        self._typed: set[str] = set()
        """Turns under way that nobody spoke."""
        self._told: OrderedDict[str, bytes] = OrderedDict()
        self._host = ""
        self._opening: OpenSession | None = None
        self._link: Link | None = None
        self._placed = asyncio.Event()
        self._listens = False
        """Its host has heard something of it."""
        self._ended = False

    @property
    def hosted(self) -> bool:
        """Whether it has a host now."""
        return self._placed.is_set() and not self._ended

    async def place(self, *, wait: bool, again: bool = False) -> None:
        """Finds a host. `again`: the client says that the session existed before. Raises `NoHost`."""
        again = again or self._opening is not None
        self._opening = self.plan.opening(self._settings(), again, self.held.unfinished)
        self._listens = not again
        self._journal.keep(self.held)
        try:
            async with asyncio.timeout(WAIT_PATIENCE):
                self._host, self._link = await self._placing.place(
                    self._opening, self.plan.needs, wait, avoid=self._host
                )
        except TimeoutError:
            raise NoHost(f"no agent came within {WAIT_PATIENCE / 60:.0f} minutes; start one") from None
        passed = 0
        while waiting := tuple(self._backlog)[passed:]:
            for event in waiting:
                await self._pass_on(event)
            passed += len(waiting)
        self._placed.set()

    async def send(self, event: SessionInput) -> None:
        """Waits while there is no host, or while the bus is away: input is never dropped. Sound waits here first, so
        that what a client says meanwhile is read, and recorded."""
        if not self._placed.is_set():
            if isinstance(event, AudioIn) and self._backlog.has_room(event):
                self._backlog.add(event)
                return
            await self._placed.wait()
        self._backlog.add(event)
        await self._pass_on(event)

    async def _pass_on(self, event: SessionInput) -> None:
        assert self._link is not None
        if isinstance(event, AudioIn):
            if not self._listens:
                # A client that comes back says again what may be lost: a new host would take it for something new.
                if event.position + _samples(event) <= self.held.answered:
                    return None
                self._listens = True
                self._tell(self.held.heard_from(event.position, NO_HOST))
            self._heard(event.position + _samples(event))
        while True:
            try:
                return await self._link.send(event)
            except BusError:
                if self._bus.connected.is_set():
                    raise
                await self._bus.connected.wait()

    def _heard(self, position: int) -> None:
        before, self.held.heard_to = self.held.heard_to, max(self.held.heard_to, position)
        if before // KNOWN_EVERY != self.held.heard_to // KNOWN_EVERY:
            self._journal.keep(self.held)

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
                raise NoHost(f"{reason}, and no other took it within {TAKEOVER_PATIENCE:.0f} s") from None
            yield Resumed()

    async def _watch(self, link: Link) -> None:
        """Ends the iteration over what the host says once it is gone."""
        while not self._placing.gone(self._host):
            await self._placing.changed()
        await link.aclose()

    async def _give_up(self, reason: str) -> list[SessionOutput]:
        """Ends the replies that the dead host left open, for the responders too. What nobody has heard an answer to is
        not over: whoever takes over hears it again."""
        whole = {each.turn_id for each in self.held.begun.values() if each.whole}
        over = list(self.held.host_gone(reason))
        for told in self._told.values():
            self._record(records.decode(told))
        self._tell(over)
        open_turns = [*self._typed, *(each.turn_id for each in over if each.turn_id not in whole)]
        ends: list[SessionOutput] = [ReplyEnd(turn_id, "failed", reason) for turn_id in open_turns]
        self._typed.clear()
        self._backlog.answered(self.held.answered)
        with contextlib.suppress(BusError):
            for end in ends:
                assert self._opening is not None
                await self._bus.publish(self._opening.output, events.encode(end))
        return ends

    def _tell(self, broken_off: Iterable[AnyRecord]) -> None:
        for record in broken_off:
            self._record(record)
        self._journal.keep(self.held)

    def _note(self, output: SessionOutput) -> None:
        written = not self.plan.speaks or bool(self._settings().get("text_only"))
        if self.held.note(output, written):
            self._backlog.answered(self.held.answered)
            self._journal.keep(self.held)
        match output:
            case SpeechStopped() if output.turn_id not in self.held.begun:
                self._typed.add(output.turn_id)
            case ReplyEnd():
                self._typed.discard(output.turn_id)
            case TurnDone():
                self._told[output.turn_id] = output.record
                while len(self._told) > TOLD_TURNS:
                    self._told.popitem(last=False)
            case SessionEnded():
                self._ended = True
                self._over()

    def _over(self) -> None:
        """Its host ended it in order, and says what became of what it heard."""
        self._tell(self.held.nobody_answers(NO_HOST))
        self._journal.forget(self.plan.session_id)

    async def close(self) -> None:
        """Tells the host, once; outputs that are still under way are not waited for."""
        link, self._link = self._link, None
        if link is None:
            if not self._ended and (self._host or self.held.heard_to):
                self._journal.leave(self.held)
            elif not self._ended:
                self._journal.forget(self.plan.session_id)
            self._ended = True
            return
        if self._ended:
            await link.aclose()
            return
        self._ended = True
        with contextlib.suppress(BusError):
            await link.send(SessionClose())
        if self._placed.is_set():
            self._journal.beside.start(self._until_ended(link), "seeing a session end")
        else:
            await link.aclose()
            self._journal.leave(self.held)

    async def leave(self) -> None:
        """This gateway stops, and the client comes back to the next one: that knows what was answered, and what has to
        be heard again. The host is told to end it."""
        if self._ended or not (self._host or self.held.heard_to):
            await self.close()
            return
        link, self._link = self._link, None
        self._ended = True
        # Of replies that were heard in part the host tells; it lives.
        collections.deque(self.held.host_gone(STOPS), maxlen=0)
        self.held.closed = link is not None and self._placed.is_set()
        self._journal.keep(self.held)
        if link is not None:
            with contextlib.suppress(BusError):
                await link.send(SessionClose())
            await link.aclose()

    async def _until_ended(self, link: Link) -> None:
        """Whether its host lives to end it is not waited for by its client."""
        try:
            async with asyncio.timeout(END_PATIENCE):
                async for output in link:
                    self._note(output)
                    if isinstance(output, SessionEnded):
                        return
        except PeerLost as lost:
            await self._give_up(str(lost))
            self._journal.leave(self.held)
            return
        except (TimeoutError, BusError):
            pass
        finally:
            await link.aclose()
        self._over()


def _samples(event: SessionInput) -> int:
    return len(event.pcm) // 2 if isinstance(event, AudioIn) else 0
