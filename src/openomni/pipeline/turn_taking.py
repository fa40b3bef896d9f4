"""Where speech begins and ends on a session's sample axis, by the windows of a voice activity detector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..events import AXIS_RATE
from ..media import Audio, Samples
from .spec import TurnTaking

HYSTERESIS = 0.15
"""Speech goes on while its probability is at most this far below the threshold: a soft syllable ends nothing."""


class Detector(Protocol):
    """One stream's voice activity detector; it has a state of its own."""

    window: int

    def __call__(self, samples: Samples) -> float: ...


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Speech from sample `start` on; noticed at sample `noticed`."""

    start: int
    noticed: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Speech from `start` up to, not including, sample `end`; its end was decided at sample `decided`."""

    start: int
    end: int
    decided: int


class SpeechFinder:
    """Fed with samples as they come, says where speech began and ended."""

    def __init__(self, detector: Detector, taking: TurnTaking, position: int = 0) -> None:
        """`position`: where the first sample that it is fed lies."""
        self._detector = detector
        self._taking = taking
        self._pending: Samples = np.zeros(0, np.float32)
        self._position = position
        self._run_start: int | None = None
        self._start: int | None = None
        self._last_speech = position

    @property
    def last_speech(self) -> int:
        """Just past the last sample that held speech so far."""
        return self._last_speech

    @property
    def speaking(self) -> bool:
        return self._start is not None

    def feed(self, samples: Samples) -> Iterator[SpeechBegan | SpeechEnded]:
        self._pending = np.concatenate((self._pending, samples)) if len(self._pending) else samples
        window = self._detector.window
        used = 0
        while len(self._pending) - used >= window:
            probability = self._detector(self._pending[used : used + window])
            used += window
            self._position += window
            found = self._step(probability, window)
            if found is not None:
                yield found
        self._pending = self._pending[used:]

    def finish(self) -> SpeechEnded | None:
        """Ends speech that is under way: the capture is over, or the client said so."""
        return self._end() if self._start is not None else None

    def _step(self, probability: float, window: int) -> SpeechBegan | SpeechEnded | None:
        taking, here = self._taking, self._position
        if self._start is None:
            if probability < taking.threshold:
                self._run_start = None
                return None
            if self._run_start is None:
                self._run_start = here - window
            if here - self._run_start < round(taking.min_speech * AXIS_RATE):
                return None
            self._start, self._last_speech, self._run_start = self._run_start, here, None
            return SpeechBegan(self._start, here)
        if probability >= taking.threshold - HYSTERESIS:
            self._last_speech = here
            too_long = here - self._start >= round(taking.max_utterance * AXIS_RATE)
            return self._end() if too_long else None
        silent = here - self._last_speech >= round(taking.end_of_turn_silence * AXIS_RATE)
        return self._end() if silent else None

    def _end(self) -> SpeechEnded:
        assert self._start is not None
        ended = SpeechEnded(self._start, self._last_speech, self._position)
        self._start = None
        return ended


def find_utterances(blocks: Iterator[Audio], detector: Detector, taking: TurnTaking) -> Iterator[SpeechEnded]:
    """The utterances of a recording, from its blocks at 16 kHz; memory does not grow with its length."""
    finder = SpeechFinder(detector, taking)
    for block in blocks:
        for found in finder.feed(block.samples):
            if isinstance(found, SpeechEnded):
                yield found
    # Silence enough to settle an utterance that goes on to the last sample.
    for found in finder.feed(np.zeros(round((taking.end_of_turn_silence + 0.1) * AXIS_RATE), np.float32)):
        if isinstance(found, SpeechEnded):
            yield found
    last = finder.finish()
    if last is not None:
        yield last
