"""What a client says, on its way to the session's axis: PCM16 at 16 kHz with a position and a stamp."""

from __future__ import annotations

import asyncio

import numpy as np

from .. import clock
from ..events import AXIS_RATE, AudioIn
from .narrator import stream_resampler
from .protocol import SDK_RATE, ProtocolError

BYTES_A_SECOND = 2 * AXIS_RATE
BURST_SECONDS = 30.0
TIMES_REAL_TIME = 16.0
MAX_HELD_SECONDS = 300.0


class Pace:
    """Holds back a client that sends faster than a host can listen: by not reading, so nothing is lost.

    `BURST_SECONDS` of sound pass at once; a longer run passes at `TIMES_REAL_TIME`.
    """

    def __init__(self) -> None:
        self._ahead = 0.0
        self._at = clock.now()

    async def take(self, seconds: float) -> None:
        now = clock.now()
        self._ahead = max(self._ahead - (now - self._at) * TIMES_REAL_TIME, 0.0) + seconds
        self._at = now
        if self._ahead > BURST_SECONDS:
            await asyncio.sleep((self._ahead - BURST_SECONDS) / TIMES_REAL_TIME)


class Microphone:
    """The one axis of a session, whatever form its sound comes in.

    With `held` on (no turn detection) appended sound waits until it is committed, and can be cleared until then.
    """

    def __init__(self, position: int = 0) -> None:
        self.position = position
        """Where the next sound goes."""
        self._resampler = stream_resampler(SDK_RATE, AXIS_RATE)
        self._held: list[tuple[float, bytes]] = []
        self._held_bytes = 0

    @property
    def held_seconds(self) -> float:
        return self._held_bytes / BYTES_A_SECOND

    def placed(self, position: int, captured: float, pcm: bytes) -> AudioIn:
        """Sound that its client placed itself; `captured` is on the gateway's clock."""
        self.position = max(self.position, position + len(pcm) // 2)
        return AudioIn(position, captured, pcm)

    def append(self, pcm: bytes) -> AudioIn | None:
        """Sound at 24 kHz that was captured just now; None while the resampler holds it all back."""
        captured = clock.now() - len(pcm) / 2 / SDK_RATE
        return self._next(captured, self._resampled(pcm))

    def hold(self, pcm: bytes) -> None:
        """Like `append`, for an utterance that may still be cleared. Raises `ProtocolError` when it grows too long."""
        if self.held_seconds > MAX_HELD_SECONDS:
            raise ProtocolError("buffer_full", f"the buffer holds {MAX_HELD_SECONDS:.0f} s; commit it or clear it")
        captured = clock.now() - len(pcm) / 2 / SDK_RATE
        self._keep(captured, self._resampled(pcm))

    def clear(self) -> None:
        self._held, self._held_bytes = [], 0
        self._resampler = stream_resampler(SDK_RATE, AXIS_RATE)

    def finish(self) -> AudioIn | None:
        """What the resampler still holds at the end of an utterance."""
        return self._next(clock.now(), self._flushed())

    def release(self) -> list[AudioIn]:
        """The held utterance, now placed on the axis."""
        self._keep(clock.now(), self._flushed())
        placed = [self._next(captured, pcm) for captured, pcm in self._held]
        self._held, self._held_bytes = [], 0
        return [sound for sound in placed if sound]

    def _keep(self, captured: float, pcm: bytes) -> None:
        if pcm:
            self._held.append((captured, pcm))
            self._held_bytes += len(pcm)

    def _next(self, captured: float, pcm: bytes) -> AudioIn | None:
        return self.placed(self.position, captured, pcm) if pcm else None

    def _resampled(self, pcm: bytes) -> bytes:
        return self._resampler.resample_chunk(np.frombuffer(pcm, "<i2")).tobytes()  # type: ignore[no-any-return]

    def _flushed(self) -> bytes:
        rest = self._resampler.resample_chunk(np.empty(0, np.int16), last=True).tobytes()
        self._resampler = stream_resampler(SDK_RATE, AXIS_RATE)
        return rest  # type: ignore[no-any-return]
