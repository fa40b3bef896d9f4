"""A voice activity detector without a model: louder than what the room is like, by so many decibels."""

from __future__ import annotations

import math
from collections import deque
from typing import Annotated

from msgspec import Meta

from ...events import AXIS_RATE
from ...media import Samples
from ..registry import component

WINDOW = 320
"""Samples at 16 kHz: 20 ms."""
QUIETEST = -70.0
"""dBFS; the floor never goes below, or the noise of a converter at rest would count as speech."""
MEMORY = 3.0
"""Seconds over which the quietest window tells what the room is like."""
SLOPE = 3.0
"""Decibels over the margin that lift the answer from 0.5 to 0.73."""


@component("vad", "energy")
class Energy:
    """Loudness against an adaptive noise floor. For boards too small for a network, and for quiet rooms.

    The floor is the quietest 20 ms of the last seconds, so it follows the room at once when it becomes quieter, and
    within three seconds when it becomes louder; pauses between words keep it from rising during speech.

    Args:
        margin: Decibels above the floor at which the answer is 0.5.
        minimum: Level in dBFS below which nothing counts as speech.
    """

    def __init__(self, margin: Annotated[float, Meta(gt=0)] = 12.0, minimum: float = -50.0) -> None:
        self._margin = margin
        self._minimum = minimum

    def open(self) -> EnergyDetector:
        return EnergyDetector(self._margin, self._minimum)


class EnergyDetector:
    """One stream's noise floor. Called with 320 samples at 16 kHz; gives 0…1, 0.5 at the margin."""

    window = WINDOW

    def __init__(self, margin: float, minimum: float) -> None:
        self._margin = margin
        self._minimum = minimum
        self._recent: deque[float] = deque(maxlen=round(MEMORY * AXIS_RATE / WINDOW))

    @property
    def floor(self) -> float:
        """What the room is like, in dBFS."""
        return max(min(self._recent, default=QUIETEST), QUIETEST)

    def __call__(self, samples: Samples) -> float:
        power = float(samples @ samples) / max(len(samples), 1)
        level = 10 * math.log10(power + 1e-12)
        self._recent.append(level)
        above = min(level - self.floor - self._margin, level - self._minimum)
        return 1 / (1 + math.exp(-max(min(above / SLOPE, 50.0), -50.0)))
