"""A synthetic caller: a microphone in a quiet room that speaks in real time, and an ear that notes what it hears.

All else is the real listener, over the real path. The caller hears no echo: its microphone gets its own voice only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from .. import clock
from ..client.connection import Link
from ..client.listener.listener import Listener, Told
from ..client.listener.sources import BLOCK, BLOCK_S, Block
from ..client.replies import ReplyFolder
from ..client.responder.sinks import Report, VirtualSpeaker
from ..client.wire import Playback, ReplyChunk
from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..media import Samples
from ..storage.spool import Spool, SpoolRecording
from .speech import SpokenUtterance

ROOM_NOISE = 10 ** (-66 / 20)
"""Root mean square of the room when nobody speaks: −66 dBFS, a quiet one."""
LEAD_IN_S = 1.0
"""Nothing is said before the room was heard for a moment."""


@dataclass(slots=True)
class SaidUtterance:
    """An utterance as it was played into the microphone: stamps (this clock) of its first speech sample and of the
    end of its last; `position` is where its `audio` begins on the session's axis."""

    utterance: SpokenUtterance
    position: int
    start: float
    end: float

    @property
    def span(self) -> tuple[int, int]:
        """Where the speech lies on the session's axis, in samples."""
        return self.position + self.utterance.start, self.position + self.utterance.end


class Room:
    """The microphone: a block of 20 ms goes out when its last sample was captured."""

    label = "bench"
    decides_turns = False
    ambient = False

    def __init__(self, seed: int) -> None:
        noise = np.random.default_rng(seed).standard_normal(10 * AXIS_RATE)
        self._noise: Samples = (noise * ROOM_NOISE).astype(np.float32)
        self._saying: list[tuple[int, Samples]] = []
        self._position = 0
        self.began = 0.0
        self._stopped = False
        self.late: list[float] = []
        """Seconds that each block went out later than a real microphone would have given it."""
        self.sent: list[bytes] = []
        """Each block, as PCM16."""

    def check(self) -> None:
        pass

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[SpoolRecording]:
        return []  # the gateway records

    def stop(self) -> None:
        self._stopped = True

    def say(self, utterance: SpokenUtterance) -> SaidUtterance:
        """From the next block on."""
        if not self.began:
            raise OpenOmniError("the microphone is not open yet")
        position = self._position
        self._saying.append((position, utterance.audio.samples))
        start, end = (self.began + (position + place) / AXIS_RATE for place in (utterance.start, utterance.end))
        return SaidUtterance(utterance, position, start, end)

    async def capture(self) -> AsyncIterator[Block]:
        self.began = clock.now()
        while not self._stopped:
            captured = self.began + self._position / AXIS_RATE
            due = captured + BLOCK_S
            await asyncio.sleep(max(due - clock.now(), 0.0))
            self.late.append(clock.now() - due)
            block = Block(self._position, captured, self._block())
            self._position += BLOCK
            yield block

    def _block(self) -> bytes:
        first = self._position % (len(self._noise) - BLOCK)
        samples = self._noise[first : first + BLOCK].copy()
        for position, speech in self._saying:
            piece = speech[max(self._position - position, 0) : self._position - position + BLOCK]
            samples[: len(piece)] += piece
        self._saying = [each for each in self._saying if each[0] + len(each[1]) > self._position + BLOCK]
        pcm: bytes = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes()
        self.sent.append(pcm)
        return pcm


@dataclass(slots=True)
class HeardReply:
    """What the ear heard of a reply; stamps on this clock."""

    turn_id: str
    came: float
    """Its first sound came from the gateway."""
    audible: float | None = None
    length: float = 0.0
    """Seconds of sound that came."""
    played: float = 0.0
    """Seconds of it that were played in the end."""
    over: float | None = None
    cut: bool = False
    """It ended before all was played."""
    pauses: list[tuple[float, float | None]] = field(default_factory=list)
    """When it fell silent and when it went on; None when it did not."""

    def silenced(self, after: float) -> float | None:
        """When it first fell silent after a stamp, for whatever reason but having said all."""
        falls = [begun for begun, _ in self.pauses] + ([self.over] if self.cut and self.over is not None else [])
        return min((at for at in falls if at >= after), default=None)

    def sounding(self, at: float) -> bool:
        """Whether it was being heard at a stamp."""
        if self.audible is None or at < self.audible or (self.over is not None and at >= self.over):
            return False
        return not any(begun <= at and (end is None or at < end) for begun, end in self.pauses)


class Ear(VirtualSpeaker):
    """A virtual loudspeaker that writes down when what was heard."""

    def __init__(self, report: Report, changed: Callable[[], None]) -> None:
        super().__init__(self._note)
        self.replies: dict[str, HeardReply] = {}
        self._tell_gateway, self._changed = report, changed

    def play(self, chunk: ReplyChunk) -> None:
        reply = self.replies.get(chunk.turn_id)
        if reply is None:
            reply = self.replies[chunk.turn_id] = HeardReply(chunk.turn_id, clock.now())
        if reply.over is None:  # what was still on its way when it was cut is not played
            reply.length += chunk.seconds
            super().play(chunk)

    def end(self, turn_id: str, status: str) -> None:
        reply, now = self.replies.get(turn_id), clock.now()
        super().end(turn_id, status)
        if reply is not None and status != "completed" and reply.cut is False and reply.over is None:
            reply.over, reply.cut = now, True
        self._changed()

    def pause(self, turn_id: str) -> None:
        reply = self.replies.get(turn_id)
        super().pause(turn_id)
        if reply is not None and reply.over is None and (not reply.pauses or reply.pauses[-1][1] is not None):
            reply.pauses.append((clock.now(), None))
        self._changed()

    def resume(self, turn_id: str) -> None:
        reply = self.replies.get(turn_id)
        super().resume(turn_id)
        if reply is not None and reply.pauses and reply.pauses[-1][1] is None:
            reply.pauses[-1] = (reply.pauses[-1][0], clock.now())
        self._changed()

    def _note(self, playback: Playback) -> None:
        reply = self.replies[playback.turn_id]
        reply.audible, reply.played = playback.audible, playback.seconds
        if playback.ended and reply.over is None:
            # A reply that said all is over at its last sample; one that did not was cut.
            reply.over = clock.now()
            reply.cut = playback.seconds < reply.length - BLOCK_S
        self._tell_gateway(playback)
        self._changed()


class SyntheticCaller:
    """One session: what was said, what was heard, and at its end the turns as the server recorded them."""

    def __init__(self, seed: int) -> None:
        self.room = Room(seed)
        self.said: list[SaidUtterance] = []
        self.turns: list[dict[str, Any]] = []
        self.notices: list[str] = []
        self.lost_seconds = 0.0
        self.session_id = ""
        self.replies: dict[str, HeardReply] = {}
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def call(self, server: str, token: str, pipeline: str, folder: Path) -> AsyncIterator[None]:
        """The session lasts as long as the block, and until the last reply was heard; replies are kept in `folder`.
        Raises OpenOmniError when the session breaks, and ends the block for it."""
        hello = {"role": "listener", "audio": "binary", "rate": AXIS_RATE, "source": "bench", "output": True}
        path = f"/v1/realtime?model={quote(pipeline, safe='')}"
        told = Told(turn=lambda turn: None, notice=self.notices.append)
        async with Link(server, token, path, hello) as link:
            self.session_id = link.session_id
            listener = Listener(link, self.room, self._ear, ReplyFolder(folder), told,
                                reports=True, full_duplex=True, wait=True)  # fmt: skip
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(listener.run())
                    await asyncio.sleep(LEAD_IN_S)
                    yield
                    self.room.stop()
            except BaseExceptionGroup as several:
                raise first_cause(several) from None
            finally:
                self.turns = listener.turns
                self.lost_seconds = listener.undelivered.seconds

    def _ear(self, report: Report) -> Ear:
        self.ear = Ear(report, self._news.set)
        self.replies = self.ear.replies
        return self.ear

    async def say(self, utterance: SpokenUtterance) -> SaidUtterance:
        """Returns when its last sample was spoken."""
        said = self.begin(utterance)
        await asyncio.sleep(max(said.end - clock.now(), 0.0))
        return said

    def begin(self, utterance: SpokenUtterance) -> SaidUtterance:
        said = self.room.say(utterance)
        self.said.append(said)
        return said

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits, for so long at most, until something heard makes it true."""
        deadline = clock.now() + seconds
        while not condition():
            self._news.clear()
            wait = deadline - clock.now()
            if wait <= 0:
                return False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), wait)
        return True

    def answering(self, said: SaidUtterance) -> HeardReply | None:
        """The reply that became audible after the end of an utterance."""
        found = [reply for reply in self.replies.values() if reply.audible is not None and reply.audible >= said.end]
        return min(found, key=lambda reply: reply.audible or 0.0, default=None)

    @property
    def being_heard(self) -> list[HeardReply]:
        return [reply for reply in self.replies.values() if reply.over is None]


def first_cause(error: BaseException) -> BaseException:
    """The one line for a person, out of a group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
