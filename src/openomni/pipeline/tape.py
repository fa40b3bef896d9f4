"""The last stretch of what was captured: sound and pictures by their place on the session's axis."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..events import AXIS_RATE, AudioIn, PictureIn
from ..media import Audio, Frame, Samples

MOST_PICTURES = 300
BRIDGED = 5 * AXIS_RATE
"""Samples of a gap that are filled with silence; a longer one ends what is held, and the tape goes on behind it."""


class Tape:
    """Sound from `base` on. What was lost on the way is silence; what comes twice counts once."""

    def __init__(self) -> None:
        self._blocks: deque[Samples] = deque()
        self.base = 0
        self.end = 0
        self._started = False
        self._pictures: deque[PictureIn] = deque(maxlen=MOST_PICTURES)
        self._anchor = (0, 0.0)

    def gap(self, position: int) -> int:
        """How many samples are missing before that one."""
        return max(position - self.end, 0) if self._started else 0

    def write(self, event: AudioIn) -> Samples:
        """Returns the samples that are new, the silence of a gap before them included."""
        samples = np.frombuffer(event.pcm, "<i2").astype(np.float32) / 32768.0
        if not self._started or self.gap(event.position) > BRIDGED:
            self.skip(event.position)
        new = samples[max(self.end - event.position, 0) :]
        if gap := self.gap(event.position):
            new = np.concatenate((np.zeros(gap, np.float32), samples))
        if len(new):
            self._anchor = (event.position, event.captured)
            self._append(new)
        return new

    def be_silent(self, samples: int) -> Samples:
        """Writes as much silence, and returns it."""
        silence = np.zeros(samples, np.float32)
        self._append(silence)
        return silence

    def skip(self, position: int) -> None:
        """Lets go of all sound, and goes on at that sample."""
        self._blocks.clear()
        self._started, self.base, self.end = True, position, position

    def _append(self, samples: Samples) -> None:
        self._blocks.append(samples)
        self.end += len(samples)

    def show(self, event: PictureIn) -> None:
        self._pictures.append(event)

    def captured(self, position: int) -> float:
        """When a sample was captured, on the clock of the stamps that came with the sound."""
        anchor, stamp = self._anchor
        return stamp + (position - anchor) / AXIS_RATE

    def held(self, start: int, end: int) -> tuple[int, int]:
        """What of samples `start` to `end` is still held."""
        start = min(max(start, self.base), self.end)
        return start, max(min(end, self.end), start)

    def sound(self, start: int, end: int) -> Audio:
        """What is still held of samples `start` to `end`."""
        start, end = self.held(start, end)
        if end <= start:
            return Audio(np.zeros(0, np.float32), AXIS_RATE)
        parts, here = [], self.base
        for block in self._blocks:
            if here < end and here + len(block) > start:
                parts.append(block[max(start - here, 0) : end - here])
            here += len(block)
        return Audio(np.concatenate(parts), AXIS_RATE)

    def pictures(self, start: int, end: int) -> list[Frame]:
        """The frames seen from sample `start` to `end`; the newest one before, when none was seen between."""
        seen = [event for event in self._pictures if start <= event.position < end]
        if not seen:
            seen = [event for event in self._pictures if event.position < end][-1:]
        return [Frame.from_jpeg(event.jpeg, event.position / AXIS_RATE) for event in seen]

    def forget(self, before: int) -> None:
        """Lets go of sound before a sample."""
        while self._blocks and self.base + len(self._blocks[0]) <= before:
            self.base += len(self._blocks.popleft())
