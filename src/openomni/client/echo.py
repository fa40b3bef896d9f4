"""Echo cancellation: what the loudspeaker plays is taken out of what the microphone beside it hears.

WebRTC's canceller does the work, from the package `livekit`. It finds the room's delay by itself, as long as the sound
that was played never comes to it after its echo. So both sounds are laid on one clock here: to each moment that the
microphone heard belongs what left the loudspeaker's converter then.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from .. import installs
from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..media import AUDIBLE

FRAME = AXIS_RATE // 100
"""Samples that the canceller takes at a time: 10 ms."""
LEAD_S = 0.02
"""What was played comes that much before its echo could, for a driver's stamps may be wrong by some milliseconds; less
where the loudspeaker's sound is not known so far ahead."""
SEEK_S = 0.005
"""Two sounds that are further apart than this are laid together anew; what is less, and drift, is made up slowly."""
LEARN_S = 2.0
"""How much sound the canceller has to hear before it knows the room; until then what it leaves may still be speech."""
DELAY_S = 0.008
"""By how much what comes out of the canceller is later than what went in."""
TAIL_S = 0.3
"""How long a room goes on sounding after the loudspeaker fell silent."""
_SLACK = round(0.0005 * AXIS_RATE)
_KEPT = 2 * AXIS_RATE
_LOUD = round(AUDIBLE * 32768)


class EchoCanceller:
    """For one loudspeaker and one microphone. Raises OpenOmniError where the library is missing, with the mend."""

    def __init__(self) -> None:
        self._library = _WebRtc()
        self._coming: deque[tuple[bytes, int, float]] = deque()
        self._speaker = _Clock(AXIS_RATE)
        self._microphone = _Clock(AXIS_RATE)
        self._track = _Track()
        self._lead = LEAD_S
        self._next: int | None = None
        self._learned = 0
        """Samples of sound that were played so far."""
        self._loud_until = 0
        """The microphone's sample up to which the last of it may be heard."""

    @property
    def learning(self) -> bool:
        """Whether what `cancel` gave last may still hold an echo, for the room is not known yet."""
        return self._learned < LEARN_S * AXIS_RATE and self._microphone.count < self._loud_until

    def played(self, pcm: bytes, rate: int, leaves: float) -> None:
        """The loudspeaker was given `pcm` at `rate`, silence included; its first sample leaves at the stamp `leaves`.
        Any thread may call."""
        self._coming.append((pcm, rate, leaves))

    def cancel(self, pcm: bytes, captured: float) -> bytes:
        """What the microphone heard without what was played: PCM16 at 16 kHz, of whole frames; its first sample was
        captured at the stamp `captured`."""
        while self._coming:
            self._lay_down(*self._coming.popleft())
        self._microphone.saw(captured)
        return b"".join(self._frame(pcm[at : at + 2 * FRAME]) for at in range(0, len(pcm), 2 * FRAME))

    def _lay_down(self, pcm: bytes, rate: int, leaves: float) -> None:
        if rate != self._track.rate:
            self._track, self._speaker = _Track(rate), _Clock(rate)
        self._speaker.saw(leaves)
        self._speaker.count += len(pcm) // 2
        self._track.append(pcm)

    def _frame(self, pcm: bytes) -> bytes:
        if self._speaker.count:
            due = self._due()
            if (short := due + FRAME - self._track.end) > 0 and self._lead:
                self._lead = max(self._lead - short / AXIS_RATE, 0.0)
                due = self._due()
            if self._next is None or abs(due - self._next) > SEEK_S * AXIS_RATE:
                self._next = round(due)
            elif abs(due - self._next) > _SLACK:
                self._next += 1 if due > self._next else -1
            played = self._track.read(self._next)
            self._next += FRAME
            if np.abs(np.frombuffer(played, np.int16)).max() > _LOUD:
                self._learned += FRAME
                self._loud_until = self._microphone.count + round(TAIL_S * AXIS_RATE)
        else:
            played = bytes(len(pcm))
        self._microphone.count += FRAME
        return self._library.cancel(pcm, played)

    def _due(self) -> float:
        """The sample of the track that belongs to the microphone's next one."""
        at = self._microphone.stamp(self._microphone.count) + self._lead
        return (at - self._speaker.stamp(0)) * AXIS_RATE


class _Clock:
    """When each sample of a stream passed the converter.

    A stamp is late by as long as its thread had to wait, and never early: the earliest of the newest is believed.
    """

    def __init__(self, rate: int) -> None:
        self.count = 0
        """Samples so far."""
        self._rate = rate
        self._began: deque[float] = deque(maxlen=64)

    def saw(self, stamp: float) -> None:
        """The next sample passes at `stamp`."""
        self._began.append(stamp - self.count / self._rate)

    def stamp(self, sample: int) -> float:
        return min(self._began) + sample / self._rate


class _Track:
    """What was played lately, at 16 kHz."""

    def __init__(self, rate: int = AXIS_RATE) -> None:
        self.rate = rate
        self._samples = np.empty(0, np.int16)
        self._first = 0
        """Which sample of all `_samples` begins with."""
        self._resampler: Any = None
        if rate != AXIS_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(rate, AXIS_RATE, 1, dtype="int16", quality="LQ")

    @property
    def end(self) -> int:
        return self._first + len(self._samples)

    def append(self, pcm: bytes) -> None:
        samples = np.frombuffer(pcm, np.int16)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        joined = np.concatenate([self._samples, samples])
        self._samples = joined[-_KEPT:]
        self._first += len(joined) - len(self._samples)

    def read(self, start: int) -> bytes:
        """A frame from that sample on; silence where there is nothing yet, or nothing any more."""
        frame = np.zeros(FRAME, np.int16)
        low, high = max(start, self._first), min(start + FRAME, self.end)
        if low < high:
            frame[low - start : high - start] = self._samples[low - self._first : high - self._first]
        return frame.tobytes()


class _WebRtc:
    """WebRTC's audio processing (BSD), which `livekit` (Apache-2.0) carries ready-made."""

    def __init__(self) -> None:
        try:
            from livekit import rtc
        except ImportError:
            raise OpenOmniError(f"echo cancellation needs livekit; {installs.line('listener')}") from None
        self._rtc = rtc
        self._processing = rtc.AudioProcessingModule(echo_cancellation=True)

    def cancel(self, heard: bytes, played: bytes) -> bytes:
        near, far = (self._rtc.AudioFrame(bytearray(pcm), AXIS_RATE, 1, FRAME) for pcm in (heard, played))
        self._processing.process_reverse_stream(far)
        self._processing.set_stream_delay_ms(round(1000 * LEAD_S))
        self._processing.process_stream(near)
        return bytes(near.data)
