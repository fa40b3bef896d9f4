"""A loudspeaker through PortAudio: a small jitter buffer, and reports by when samples leave the converter."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import clock
from ...errors import OpenOmniError
from ...media import AUDIBLE
from .. import portaudio
from ..wire import Playback, ReplyChunk
from .sinks import PAUSE_PATIENCE_S, REPORT_EVERY_S, Report

Reference = Callable[[bytes, int, float], None]
"""Is given all that the loudspeaker plays: PCM16, its rate, and when its first sample leaves the converter."""

JITTER_S = 0.06
"""Sound that must be here before a reply starts, so that chunks that come unevenly leave no holes."""
FADE_S = 0.005
"""A reply that stops in the middle of a sound fades for so long: cut off, it would click."""
_LOUD = round(AUDIBLE * 32768)


@dataclass
class _Reply:
    turn_id: str
    pieces: deque[Any] = field(default_factory=deque)
    held: int = 0
    """Samples that wait to be played."""
    resampler: Any = None
    started: float | None = None
    audible: float | None = None
    last: float = 0.0
    played: int = 0
    complete: bool = False
    paused: asyncio.TimerHandle | None = None
    """Set while it is paused: what gives it up when nobody says how it goes on."""
    rise: int = 0
    """Samples that still fade in."""


class Loudspeaker:
    """Plays replies on a device one after another. Raises OpenOmniError where there is none, with the mend."""

    def __init__(self, report: Report, device: str | None = None, reference: Reference | None = None) -> None:
        sounddevice = portaudio.load("the loudspeaker")
        chosen = portaudio.choose(sounddevice, device, "output")
        self.rate = round(chosen["default_samplerate"])
        self._report = report
        self._reference = reference
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._replies: deque[_Reply] = deque()
        self._quiet_from = 0.0
        """When the last sample that the device was given leaves the converter."""
        self._fade = round(FADE_S * self.rate)
        self._tail = np.empty(0, np.int16)
        """The end of a reply that was stopped, fading; it goes out next."""
        try:
            self._stream = sounddevice.RawOutputStream(
                samplerate=self.rate, device=chosen["index"], channels=1, dtype="int16", latency="low",
                callback=self._fill,
            )  # fmt: skip
            self._stream.start()
        except sounddevice.PortAudioError as error:
            reason = " ".join(str(error).split())
            raise OpenOmniError(
                f"the loudspeaker {chosen['name']!r} cannot be opened ({reason}); choose another with --device"
            ) from None

    def play(self, chunk: ReplyChunk) -> None:
        samples = np.frombuffer(chunk.pcm, "<i2")
        with self._lock:
            reply = self._find(chunk.turn_id) or self._begin(chunk)
            if reply.resampler is not None:
                samples = reply.resampler.resample_chunk(samples)
            reply.pieces.append(samples)
            reply.held += len(samples)

    def end(self, turn_id: str, status: str) -> None:
        with self._lock:
            reply = self._find(turn_id)
            if reply is None:
                return
            if status == "completed":
                if reply.resampler is not None:
                    rest = reply.resampler.resample_chunk(np.empty(0, np.int16), last=True)
                    reply.pieces.append(rest)
                    reply.held += len(rest)
                reply.complete = True
                return
            self._fade_out(reply)
            self._replies.remove(reply)
            self._unpause(reply)
        self._tell(reply, ended=True)

    def pause(self, turn_id: str) -> None:
        with self._lock:
            reply = self._find(turn_id)
            if reply is None or reply.paused is not None:
                return
            self._fade_out(reply)
            reply.paused = self._loop.call_later(PAUSE_PATIENCE_S, self.end, turn_id, "cancelled")
        self._tell(reply, ended=False)

    def resume(self, turn_id: str) -> None:
        with self._lock:
            reply = self._find(turn_id)
            if reply is None or reply.paused is None:
                return
            self._unpause(reply)
            reply.rise = self._fade if reply.started is not None else 0
        self._tell(reply, ended=False)

    def sounding(self, at: float, tail: float = 0.0) -> bool:
        with self._lock:
            first = self._replies[0] if self._replies else None
            playing = first is not None and first.started is not None and first.paused is None
            return playing or at < self._quiet_from + tail

    async def close(self) -> None:
        # Stopping waits for the callback, which must not find us in its way.
        await asyncio.to_thread(self._stream.close)
        while self._replies:
            reply = self._replies.popleft()
            self._unpause(reply)
            self._tell(reply, ended=True)

    def _find(self, turn_id: str) -> _Reply | None:
        return next((reply for reply in self._replies if reply.turn_id == turn_id), None)

    def _begin(self, chunk: ReplyChunk) -> _Reply:
        reply = _Reply(chunk.turn_id)
        if chunk.rate != self.rate:
            import soxr

            reply.resampler = soxr.ResampleStream(chunk.rate, self.rate, 1, dtype="int16", quality="LQ")
        self._replies.append(reply)
        return reply

    def _fade_out(self, reply: _Reply) -> None:
        """Its next samples go out fading, whatever comes then; they count as played."""
        if reply is not self._replies[0] or reply.started is None or reply.paused is not None:
            return
        tail = np.empty(min(self._fade, reply.held), np.int16)
        self._take(reply, tail, self._quiet_from)
        falling = (tail * np.linspace(1, 0, len(tail), endpoint=False)).astype(np.int16)
        self._tail = np.concatenate([self._tail, falling])

    @staticmethod
    def _unpause(reply: _Reply) -> None:
        if reply.paused is not None:
            reply.paused.cancel()
            reply.paused = None

    def _fill(self, out: Any, count: int, time: Any, status: Any) -> None:
        """PortAudio's thread asks for `count` samples; the first of them leaves the converter at the DAC's time."""
        leaves = clock.now() + portaudio.lag(time.outputBufferDacTime - time.currentTime)
        buffer = np.frombuffer(out, np.int16)
        with self._lock:
            tail, self._tail = self._tail[:count], self._tail[count:]
            filled = len(tail)
            buffer[:filled] = tail
            while self._replies and filled < count:
                reply = self._replies[0]
                if reply.paused is not None:
                    break
                if reply.started is None and not reply.complete and reply.held < JITTER_S * self.rate:
                    break
                filled += self._take(reply, buffer[filled:], leaves + filled / self.rate)
                if not reply.complete or reply.held:
                    break
                self._replies.popleft()
                self._loop.call_soon_threadsafe(self._tell, reply, True)
            if filled:
                self._quiet_from = leaves + filled / self.rate
        buffer[filled:] = 0
        if self._reference is not None:
            self._reference(buffer.tobytes(), self.rate, leaves)

    def _take(self, reply: _Reply, buffer: Any, leaves: float) -> int:
        filled = 0
        while reply.pieces and filled < len(buffer):
            piece = reply.pieces.popleft()
            part = piece[: len(buffer) - filled]
            if len(part) < len(piece):
                reply.pieces.appendleft(piece[len(part) :])
            buffer[filled : filled + len(part)] = part
            filled += len(part)
        if filled and reply.started is None:
            reply.started = leaves
        if reply.audible is None and (loud := np.flatnonzero(np.abs(buffer[:filled].astype(np.int32)) > _LOUD)).size:
            reply.audible = leaves + int(loud[0]) / self.rate
            self._loop.call_soon_threadsafe(self._tell, reply, False)
        if reply.rise:
            self._rise(reply, buffer[:filled])
        before, reply.played = reply.played, reply.played + filled
        reply.held -= filled
        every = REPORT_EVERY_S * self.rate
        if before // every != reply.played // every:
            self._loop.call_soon_threadsafe(self._tell, reply, False)
        return filled

    def _rise(self, reply: _Reply, buffer: Any) -> None:
        rising = buffer[: reply.rise]
        gain = (np.arange(len(rising)) + self._fade - reply.rise) / self._fade
        rising[:] = (rising * gain).astype(np.int16)
        reply.rise -= len(rising)

    def _tell(self, reply: _Reply, ended: bool) -> None:
        if reply.started is not None:
            self._report(Playback(reply.turn_id, reply.started, reply.audible, reply.played / self.rate, ended))
