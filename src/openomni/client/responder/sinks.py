"""Where replies are played. A sink says what it really played and when; that is how latency is measured at the ear."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ... import clock
from ..replies import ReplyFolder
from ..wire import Playback, ReplyChunk

Report = Callable[[Playback], None]
TICK_S = 0.002
"""A timer may fire this much early."""
REPORT_EVERY_S = 0.5
"""How often it is said how much of a reply was played, while it plays."""
PAUSE_PATIENCE_S = 30.0
"""How long a reply may stay paused: where nobody has said by then how it goes on, nobody will."""


class Sink(Protocol):
    """Plays replies one after another. It reports each one's first audible sample and its end, at once when it is
    paused, resumed or cut, and every `REPORT_EVERY_S` while it plays."""

    def play(self, chunk: ReplyChunk) -> None:
        """More of a reply; its turn begins with its first chunk."""
        ...

    def end(self, turn_id: str, status: str) -> None:
        """No more of it comes. A reply that was not `completed` falls silent at once."""
        ...

    def pause(self, turn_id: str) -> None:
        """Falls silent at once and keeps what was not played: the person may be interrupting."""
        ...

    def resume(self, turn_id: str) -> None:
        """Goes on where it fell silent."""
        ...

    def sounding(self, at: float, tail: float = 0.0) -> bool:
        """Whether sound comes out at the stamp `at` (this clock), or did up to `tail` seconds before."""
        ...

    async def close(self) -> None:
        """Silence, at once."""
        ...


@dataclass
class _Reply:
    started: float
    until: float
    """When the sound that has come so far will have been played."""
    seconds: float = 0.0
    audible: float | None = None
    told: bool = False
    """It was reported that it is audible."""
    complete: bool = False
    paused: float | None = None
    reports: list[asyncio.TimerHandle] = field(default_factory=list)
    beat: asyncio.TimerHandle | None = None
    """The next report on how much was played."""
    patience: asyncio.TimerHandle | None = None

    def cancel_timers(self) -> None:
        for timer in (*self.reports, self.beat, self.patience):
            if timer is not None:
                timer.cancel()
        self.reports.clear()
        self.beat = self.patience = None


class VirtualSpeaker:
    """Plays on a clock alone: a reply starts when its first sound comes, or when the one before it ends."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._replies: dict[str, _Reply] = {}
        self._busy: list[tuple[float, float]] = []

    def play(self, chunk: ReplyChunk) -> None:
        now = clock.now()
        reply = self._replies.get(chunk.turn_id)
        if reply is None:
            start = max(now, *(other.until for other in self._replies.values()), now)
            reply = self._replies[chunk.turn_id] = _Reply(start, start)
        begin = reply.until if reply.paused is not None else max(now, reply.until)
        reply.until = begin + chunk.seconds
        reply.seconds += chunk.seconds
        first = chunk.audio.first_audible() if reply.audible is None else None
        if first is not None:
            reply.audible = begin + first
        if reply.paused is None:
            self._note_busy(begin, reply.until)
            if first is not None:
                self._report_audible(chunk.turn_id, reply)
            self._beat_on(chunk.turn_id, reply)

    def end(self, turn_id: str, status: str) -> None:
        reply = self._replies.get(turn_id)
        if reply is None:
            return
        if status == "completed":
            reply.complete = True
            if reply.paused is None:
                self._at(reply, reply.until, turn_id, ended=True)
        else:
            self._cut(turn_id, reply)

    def pause(self, turn_id: str) -> None:
        reply = self._replies.get(turn_id)
        if reply is None or reply.paused is not None:
            return
        reply.paused = clock.now()
        reply.cancel_timers()
        reply.patience = asyncio.get_running_loop().call_later(PAUSE_PATIENCE_S, self.end, turn_id, "cancelled")
        self._silent_from(reply.paused)
        if reply.started <= reply.paused:
            self._tell(turn_id, reply, ended=False)

    def resume(self, turn_id: str) -> None:
        reply = self._replies.get(turn_id)
        if reply is None or reply.paused is None:
            return
        now = clock.now()
        late = now - max(reply.paused, reply.started) if reply.started < now else 0.0
        if reply.audible is not None and not reply.told:
            reply.audible += late
        reply.until += late
        reply.paused = None
        reply.cancel_timers()
        self._note_busy(now, reply.until)
        if reply.started <= now:
            self._tell(turn_id, reply, ended=False)
        self._report_audible(turn_id, reply)
        self._beat_on(turn_id, reply)
        if reply.complete:
            self._at(reply, reply.until, turn_id, ended=True)

    def sounding(self, at: float, tail: float = 0.0) -> bool:
        return any(start <= at < end + tail for start, end in self._busy)

    async def close(self) -> None:
        for turn_id, reply in list(self._replies.items()):
            self._cut(turn_id, reply)

    def _cut(self, turn_id: str, reply: _Reply) -> None:
        now = clock.now()
        reply.cancel_timers()
        reply.seconds = self._played(reply)
        silent = now if reply.paused is None else reply.paused
        reply.until = min(reply.until, silent)
        if reply.audible is not None and reply.audible > silent:
            reply.audible = None
        self._silent_from(now)
        self._replies.pop(turn_id, None)
        if reply.started <= now:
            self._tell(turn_id, reply, ended=True)

    @staticmethod
    def _played(reply: _Reply) -> float:
        """Seconds of it that came out so far."""
        now = clock.now() if reply.paused is None else reply.paused
        return max(reply.seconds - max(reply.until - max(now, reply.started), 0.0), 0.0)

    def _silent_from(self, now: float) -> None:
        self._busy = [(start, min(end, now)) for start, end in self._busy if start < now]

    def _report_audible(self, turn_id: str, reply: _Reply) -> None:
        if reply.audible is not None and not reply.told:
            self._at(reply, reply.audible, turn_id, ended=False)

    def _note_busy(self, start: float, end: float) -> None:
        if self._busy and start <= self._busy[-1][1]:
            start = self._busy.pop()[0]
        self._busy = [*self._busy[-7:], (start, end)]

    def _beat_on(self, turn_id: str, reply: _Reply) -> None:
        if reply.beat is None:
            reply.beat = asyncio.get_running_loop().call_later(REPORT_EVERY_S, self._beat, turn_id, reply)

    def _beat(self, turn_id: str, reply: _Reply) -> None:
        """Ends with the sound that is there; more sound begins it again."""
        reply.beat = None
        if clock.now() < reply.until - TICK_S:
            if reply.started <= clock.now():
                self._tell(turn_id, reply, ended=False)
            self._beat_on(turn_id, reply)

    def _at(self, reply: _Reply, stamp: float, turn_id: str, ended: bool) -> None:
        """Reports once the moment is there, never before: until then a cancel may undo it."""
        wait = max(stamp - clock.now(), 0.0)
        loop = asyncio.get_running_loop()
        reply.reports.append(loop.call_later(wait, lambda: self._tell(turn_id, reply, ended)))

    def _tell(self, turn_id: str, reply: _Reply, ended: bool) -> None:
        if ended:
            reply.cancel_timers()
            self._replies.pop(turn_id, None)
        now = clock.now()
        audible = reply.audible if reply.audible is not None and reply.audible <= now + TICK_S else None
        reply.told |= audible is not None
        seconds = reply.seconds if ended else self._played(reply)
        self._report(Playback(turn_id, reply.started, audible, seconds, ended))


class Folder(VirtualSpeaker):
    """Writes each reply as `<turn_id>.wav` into a folder, and reports what a loudspeaker would have."""

    def __init__(self, folder: str | Path, report: Report) -> None:
        super().__init__(report)
        self.replies = ReplyFolder(folder)
        self.replies.make()

    def play(self, chunk: ReplyChunk) -> None:
        self.replies.write(chunk)
        super().play(chunk)

    def end(self, turn_id: str, status: str) -> None:
        self.replies.finish(turn_id)
        super().end(turn_id, status)

    async def close(self) -> None:
        await super().close()
        self.replies.close()
