"""A loudspeaker through PortAudio: a small jitter buffer, and reports by when samples leave the converter."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import clock
from ...errors import OpenOmniError
from ...media import AUDIBLE
from .. import portaudio
from ..wire import Playback, ReplyChunk
from .sinks import Report

JITTER_S = 0.06
"""Sound that must be here before a reply starts, so that chunks that come unevenly leave no holes."""
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
    paused: bool = False


class Speaker:
    """Plays replies on a device one after another. Raises OpenOmniError where there is none, with the mend."""

    def __init__(self, report: Report, device: str | None = None) -> None:
        sounddevice = portaudio.load("the loudspeaker")
        chosen = portaudio.choose(sounddevice, device, "output")
        self.rate = round(chosen["default_samplerate"])
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._replies: deque[_Reply] = deque()
        self._quiet_from = 0.0
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
            self._replies.remove(reply)
        self._tell(reply, ended=True)

    def pause(self, turn_id: str) -> None:
        with self._lock:
            reply = self._find(turn_id)
            if reply is None or reply.paused:
                return
            reply.paused = True
        self._tell(reply, ended=False)

    def resume(self, turn_id: str) -> None:
        with self._lock:
            reply = self._find(turn_id)
            if reply is not None:
                reply.paused = False

    def sounding(self, at: float, tail: float = 0.0) -> bool:
        with self._lock:
            first = self._replies[0] if self._replies else None
            playing = first is not None and first.started is not None and not first.paused
            return playing or at < self._quiet_from + tail

    async def close(self) -> None:
        # Stopping waits for the callback, which must not find us in its way.
        await asyncio.to_thread(self._stream.close)
        while self._replies:
            self._tell(self._replies.popleft(), ended=True)

    def _find(self, turn_id: str) -> _Reply | None:
        return next((reply for reply in self._replies if reply.turn_id == turn_id), None)

    def _begin(self, chunk: ReplyChunk) -> _Reply:
        reply = _Reply(chunk.turn_id)
        if chunk.rate != self.rate:
            import soxr

            reply.resampler = soxr.ResampleStream(chunk.rate, self.rate, 1, dtype="int16", quality="LQ")
        self._replies.append(reply)
        return reply

    def _fill(self, out: Any, count: int, time: Any, status: Any) -> None:
        """PortAudio's thread asks for `count` samples; the first of them leaves the converter at the DAC's time."""
        leaves = clock.now() + (time.outputBufferDacTime - time.currentTime)
        buffer = np.frombuffer(out, np.int16)
        filled = 0
        with self._lock:
            while self._replies and filled < count:
                reply = self._replies[0]
                if reply.paused:
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
        reply.held -= filled
        reply.played += filled
        return filled

    def _tell(self, reply: _Reply, ended: bool) -> None:
        if reply.started is not None:
            self._report(Playback(reply.turn_id, reply.started, reply.audible, reply.played / self.rate, ended))
