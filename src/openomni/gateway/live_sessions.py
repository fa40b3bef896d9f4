"""The sessions of this gateway: which connection holds each, and those whose client is away for a moment."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

from .access import Access
from .hosted_session import HostedSession
from .input_audio import Axis
from .protocol import FORBIDDEN, Ended, failure
from .realtime_settings import RealtimeSettings
from .sound_recording import SoundRecording

log = logging.getLogger(__name__)

PARKED_SECONDS = 15.0
"""How long a session waits for a client whose connection broke."""
MAX_PARKED = 256
"""Sessions of one token that wait at a time; one more ends at once."""


def taken(session_id: str) -> Ended:
    """Why a client can't have a session; whether there is one it isn't told."""
    return failure(FORBIDDEN, "session_taken", f"this token can't open the session {session_id!r}; make a new id")


class Holder(Protocol):
    """A connection of a client that has a session, or wants one."""

    session_id: str
    access: Access
    settings: RealtimeSettings | None
    ended: asyncio.Event
    """Set once the connection has let go of the session."""

    @property
    def axis(self) -> Axis | None: ...

    def belongs_to(self, access: Access) -> bool:
        """Whether that is the same client."""
        ...

    async def check_opening(self) -> None:
        """Raises `Ended` when a session of that id, which no connection has, is another client's."""
        ...

    def replace(self) -> None:
        """The same session came back on another connection, which goes on with it."""
        ...


@dataclass(frozen=True, slots=True)
class LeftSession:
    """A session as its client left it. `live` is None where no agent hosts it any more; its recording goes on."""

    settings: RealtimeSettings | None
    live: HostedSession | None
    recording: SoundRecording | None
    axis: Axis | None


@dataclass(frozen=True, slots=True)
class _Parked:
    holder: Holder
    live: HostedSession
    recording: SoundRecording | None
    timer: asyncio.Task[None]

    async def end(self, to_next_gateway: bool = False) -> None:
        """The client doesn't come back, or not to this gateway."""
        await (self.live.leave() if to_next_gateway else self.live.close())
        if self.recording is not None:
            await self.recording.end()


class LiveSessions:
    """Those of one gateway, by id."""

    def __init__(self) -> None:
        self._held: dict[str, Holder] = {}
        self._parked: dict[str, _Parked] = {}
        self._taking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def hold(self, holder: Holder) -> None:
        """That connection begins a session."""
        self._held[holder.session_id] = holder

    def holder(self, session_id: str) -> Holder | None:
        """The connection that has it now."""
        return self._held.get(session_id)

    def goes_on(self, session_id: str) -> bool:
        """Whether a connection has it, or it waits for one."""
        return session_id in self._held or session_id in self._parked

    def let_go(self, holder: Holder) -> None:
        """That connection ends."""
        if self._held.get(holder.session_id) is holder:
            del self._held[holder.session_id]

    def park(self, holder: Holder, live: HostedSession, recording: SoundRecording | None) -> bool:
        """Keeps a session alive, and its recording open, for `PARKED_SECONDS`, for its client to come back to. False
        where too many of that client wait already."""
        token_id = holder.access.token_id
        if sum(each.holder.access.token_id == token_id for each in self._parked.values()) >= MAX_PARKED:
            return False
        timer = asyncio.create_task(self._give_up(holder.session_id))
        self._parked[holder.session_id] = _Parked(holder, live, recording, timer)
        return True

    async def take_over(self, holder: Holder) -> LeftSession | None:
        """The session that this client left a moment ago, or holds on a connection that it has given up; from here on
        this connection holds it.

        Raises `Ended` when it is another client's.
        """
        # One after the other: of two that come back at once, the later one takes it from the earlier.
        lock = self._taking.setdefault(holder.session_id, asyncio.Lock())
        async with lock:
            left = await self._take_over(holder)
            self.hold(holder)
        return left

    async def _take_over(self, holder: Holder) -> LeftSession | None:
        session_id = holder.session_id
        earlier = self._held.get(session_id)
        parked = self._parked.get(session_id)
        before = earlier or (parked.holder if parked else None)
        if before is None:
            await holder.check_opening()
        elif not before.belongs_to(holder.access):
            raise taken(session_id)
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
        return LeftSession(left.holder.settings, live, left.recording, left.holder.axis)

    async def end(self) -> None:
        """Ends those that wait: the gateway stops."""
        for parked in list(self._parked.values()):
            parked.timer.cancel()
            await parked.end(to_next_gateway=True)
        self._parked.clear()

    async def _give_up(self, session_id: str) -> None:
        await asyncio.sleep(PARKED_SECONDS)
        try:
            await self._parked.pop(session_id).end()
        except Exception:
            log.exception("session %s, whose client stayed away, did not end in order", session_id)
