"""What a client says, on its way to the session's axis: PCM16 at 16 kHz with a position and a stamp."""

from __future__ import annotations

import asyncio

import numpy as np

from .. import bounds, clock
from ..events import AXIS_RATE, AudioIn
from .protocol import SDK_RATE, ProtocolError
from .resampling import stream_resampler

BYTES_A_SECOND = 2 * AXIS_RATE
BURST_SECONDS = 30.0
TIMES_REAL_TIME = 16.0
MAX_HELD_SECONDS = 300.0
MAX_LEAP = 60 * AXIS_RATE
"""Samples of silence that a client may claim between its sounds beyond the time that really passed."""


class Axis:
    """One session's axis: where its sound lies, and how far ahead on it the next may begin. It outlives a connection.

    Silence costs a client nothing to claim, and takes disk here and time at the host. So a hole may be as long as
    time really passed, give or take `MAX_LEAP`; who sends faster than that has `MAX_LEAP` more, in sum.
    """

    def __init__(self) -> None:
        self.end = 0
        """Where the next sound goes."""
        self._first: int | None = None
        self._began = clock.now()
        self._spare = MAX_LEAP

    @property
    def limit(self) -> int:
        """How far ahead anything may lie by now; a session may begin anywhere."""
        if self._first is None:
            return bounds.MAX_POSITION
        return min(max(self._by_now, self.end + self._spare), bounds.MAX_POSITION)

    @property
    def _by_now(self) -> int:
        return (self._first or 0) + int((clock.now() - self._began) * AXIS_RATE) + MAX_LEAP

    def take(self, position: int, samples: int) -> None:
        """Sound that lies there. Raises `ProtocolError` for a place that is too far ahead."""
        self.check(position)
        if self._first is None:
            self._first, self._began, self.end = position, clock.now(), position
        elif position > self.end:
            self._spare -= max(position - max(self.end, self._by_now), 0)
        self.end = max(self.end, position + samples)

    def check(self, position: int) -> None:
        """Raises `ProtocolError` for a place that is too far ahead."""
        if position > self.limit:
            ahead = (position - self.end) / AXIS_RATE
            raise ProtocolError(
                "invalid_value", f"`position` lies {ahead:.0f} s ahead of the sound before it, which is more than has "
                "passed; it counts samples at 16 kHz", "position",
            )  # fmt: skip


class ClientPace:
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


class ClientMicrophone:
    """The one axis of a session, whatever form its sound comes in.

    With `held` on (no turn detection) appended sound waits until it is committed, and can be cleared until then.
    """

    def __init__(self, axis: Axis | None = None) -> None:
        self.axis = axis or Axis()
        self._odd = b""
        """Half a sample: its other byte comes with the next piece."""
        self._resampler = stream_resampler(SDK_RATE, AXIS_RATE)
        self._held: list[tuple[float, bytes]] = []
        self._held_bytes = 0

    @property
    def held_seconds(self) -> float:
        return self._held_bytes / BYTES_A_SECOND

    def placed(self, position: int, captured: float, pcm: bytes) -> AudioIn:
        """Sound that its client placed itself; `captured` is on the gateway's clock. Raises `ProtocolError`."""
        self.axis.take(position, len(pcm) // 2)
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
        self._held, self._held_bytes, self._odd = [], 0, b""
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
        return self.placed(self.axis.end, captured, pcm) if pcm else None

    def _resampled(self, pcm: bytes) -> bytes:
        pcm = self._odd + pcm
        whole = len(pcm) // 2 * 2
        pcm, self._odd = pcm[:whole], pcm[whole:]
        return self._resampler.resample_chunk(np.frombuffer(pcm, "<i2")).tobytes()  # type: ignore[no-any-return]

    def _flushed(self) -> bytes:
        rest = self._resampler.resample_chunk(np.empty(0, np.int16), last=True).tobytes()
        self._resampler = stream_resampler(SDK_RATE, AXIS_RATE)
        self._odd = b""
        return rest  # type: ignore[no-any-return]
