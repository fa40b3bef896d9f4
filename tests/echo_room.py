"""A room with a loudspeaker and a microphone in it, for tests: what is played comes back late, reverberated and bent.

The sound card's stamps are as a real one's: late by as long as the thread had to wait, on a clock that may drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from openomni.client.echo import EchoCanceller
from openomni.client.listener.sources import BLOCK
from openomni.events import AXIS_RATE

CARD_RATE = 48_000
CALLBACK = CARD_RATE // 100
NOISE = 10 ** (-65 / 20)
Samples = Any


@dataclass(frozen=True)
class Room:
    """`gain_db`: how loud the loudspeaker is at the microphone, beside what it was given. `drift`: by how many parts in
    a million the loudspeaker's clock is faster. `late`: how long a callback has to wait on average, in seconds."""

    delay: float = 0.1
    gain_db: float = 0.0
    reverberation: float = 0.3
    drift: float = 0.0
    late: float = 0.0005
    latency: float = 0.03
    seed: int = 0

    def echo(self, played: Samples) -> Samples:
        """What the microphone hears of 16 kHz sound from the loudspeaker."""
        rng = np.random.default_rng(self.seed)
        length = round(self.reverberation * AXIS_RATE)
        tail = 0.12 * rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
        tail[0] = 1.0
        path = np.concatenate([np.zeros(round(self.delay * AXIS_RATE)), tail / np.sqrt((tail**2).sum())])
        bent = np.tanh(1.5 * played) / 1.5  # a small loudspeaker, turned up
        size = 1 << (len(bent) + len(path)).bit_length()
        heard = np.fft.irfft(np.fft.rfft(bent, size) * np.fft.rfft(path, size), size)[: len(played)]
        at = np.arange(len(played)) * (1 + self.drift * 1e-6)
        return np.interp(at, np.arange(len(played)), heard) * 10 ** (self.gain_db / 20)

    def hear(self, canceller: EchoCanceller, played: Samples, said: Samples) -> Samples:
        """What the canceller leaves of the echo of `played` and of what a person says, both at 16 kHz."""
        rng = np.random.default_rng(self.seed)
        mixed = self.echo(played) + said + NOISE * rng.standard_normal(len(played))
        heard, left = _pcm(mixed), []
        callbacks = self._callbacks(played, rng)
        pending = next(callbacks)
        for position in range(0, len(heard) - BLOCK + 1, BLOCK):
            captured = 1000.0 + position / AXIS_RATE
            arrives = captured + BLOCK / AXIS_RATE + 0.005
            while pending is not None and pending[2] - self.latency <= arrives:
                canceller.played(*pending)
                pending = next(callbacks, None)
            block = heard[position : position + BLOCK].tobytes()
            left.append(canceller.cancel(block, captured + rng.exponential(self.late)))
        return np.frombuffer(b"".join(left), "<i2").astype(np.float32) / 32768

    def _callbacks(self, played: Samples, rng: Any) -> Iterator[Any]:
        """What the loudspeaker's thread hands over: PCM16 at the card's rate, and when it leaves the converter."""
        ratio = CARD_RATE // AXIS_RATE
        fine = _pcm(np.interp(np.arange(len(played) * ratio) / ratio, np.arange(len(played)), played))
        speed = CARD_RATE * (1 + self.drift * 1e-6)
        for position in range(0, len(fine), CALLBACK):
            leaves = 1000.0 + position / speed + rng.exponential(self.late)
            yield fine[position : position + CALLBACK].tobytes(), CARD_RATE, leaves


def _pcm(samples: Samples) -> Any:
    return (np.clip(samples, -1, 1 - 1 / 32768) * 32768).astype("<i2")
