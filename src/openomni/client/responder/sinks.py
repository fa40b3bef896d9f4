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


class Sink(Protocol):
    """Plays replies one after another, and reports each one's first audible sample and its end."""

    def play(self, chunk: ReplyChunk) -> None:
        """More of a reply; its turn begins with its first chunk."""
        ...

    def end(self, turn_id: str, status: str) -> None:
        """No more of it comes. A reply that was not `completed` falls silent at once."""
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
    reports: list[asyncio.TimerHandle] = field(default_factory=list)


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
        begin = max(now, reply.until)
        reply.until = begin + chunk.seconds
        reply.seconds += chunk.seconds
        self._note_busy(begin, reply.until)
        if reply.audible is None and (first := chunk.audio.first_audible()) is not None:
            reply.audible = begin + first
            self._at(reply, reply.audible, chunk.turn_id, ended=False)

    def end(self, turn_id: str, status: str) -> None:
        reply = self._replies.get(turn_id)
        if reply is None:
            return
        if status == "completed":
            self._at(reply, reply.until, turn_id, ended=True)
        else:
            self._cut(turn_id, reply)

    def sounding(self, at: float, tail: float = 0.0) -> bool:
        return any(start <= at < end + tail for start, end in self._busy)

    async def close(self) -> None:
        for turn_id, reply in list(self._replies.items()):
            self._cut(turn_id, reply)

    def _cut(self, turn_id: str, reply: _Reply) -> None:
        now = clock.now()
        for report in reply.reports:
            report.cancel()
        reply.seconds = max(reply.seconds - max(reply.until - max(now, reply.started), 0.0), 0.0)
        reply.until = min(reply.until, now)
        if reply.audible is not None and reply.audible > now:
            reply.audible = None
        self._busy = [(start, min(end, now)) for start, end in self._busy if start < now]
        self._replies.pop(turn_id, None)
        if reply.started <= now:
            self._tell(turn_id, reply, ended=True)

    def _note_busy(self, start: float, end: float) -> None:
        if self._busy and start <= self._busy[-1][1]:
            start = self._busy.pop()[0]
        self._busy = [*self._busy[-7:], (start, end)]

    def _at(self, reply: _Reply, stamp: float, turn_id: str, ended: bool) -> None:
        """Reports once the moment is there, never before: until then a cancel may undo it."""
        wait = max(stamp - clock.now(), 0.0)
        loop = asyncio.get_running_loop()
        reply.reports.append(loop.call_later(wait, lambda: self._tell(turn_id, reply, ended)))

    def _tell(self, turn_id: str, reply: _Reply, ended: bool) -> None:
        if ended:
            self._replies.pop(turn_id, None)
        played = reply.seconds - max(reply.until - clock.now(), 0.0)
        seconds = reply.seconds if ended else max(played, 0.0)
        self._report(Playback(turn_id, reply.started, reply.audible, seconds, ended))


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
