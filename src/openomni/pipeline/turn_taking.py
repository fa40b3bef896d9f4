"""Where speech begins, pauses and ends on a session's sample axis, by the windows of a voice activity detector."""

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
RESUMES = 2
"""Windows of speech, one after the other, that end a pause: a click or a breath is one window."""


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
class SpeechPaused:
    """Speech from `start` up to, not including, sample `end`, and then a pause that may be the end of the turn."""

    start: int
    end: int
    noticed: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The pause was none: the speech from `start` on goes on, after silence up to sample `resumed`."""

    start: int
    resumed: int
    noticed: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Speech from `start` up to, not including, sample `end`; its end was decided at sample `decided`."""

    start: int
    end: int
    decided: int


Found = SpeechBegan | SpeechPaused | SpeechResumed | SpeechEnded


class SpeechFinder:
    """Fed with samples as they come, says where speech began, paused and ended.

    `patience` is the silence in seconds that ends an utterance. It may be changed during a pause, by what is learnt
    about it; `settle` then says whether that pause is long enough already. Each utterance begins with `default`.
    """

    def __init__(self, detector: Detector, taking: TurnTaking, position: int = 0) -> None:
        """`position`: where the first sample that it is fed lies."""
        self.taking = taking
        self.default = taking.end_of_turn_silence
        self.patience = self.default
        self._detector = detector
        self._pending: Samples = np.zeros(0, np.float32)
        self._position = position
        self._run_start: int | None = None
        self._start: int | None = None
        self._last_speech = position
        self._paused = False
        self._windows = 0
        """Windows of speech in a row, within a pause."""

    @property
    def last_speech(self) -> int:
        """Just past the last sample that held speech so far."""
        return self._last_speech

    @property
    def speaking(self) -> bool:
        """An utterance is under way, a pause in it included."""
        return self._start is not None

    def feed(self, samples: Samples) -> Iterator[Found]:
        self._pending = np.concatenate((self._pending, samples)) if len(self._pending) else samples
        window = self._detector.window
        used = 0
        while len(self._pending) - used >= window:
            probability = self._detector(self._pending[used : used + window])
            used += window
            self._position += window
            yield from self._step(probability, window)
        self._pending = self._pending[used:]

    def finish(self) -> SpeechEnded | None:
        """Ends speech that is under way: the capture is over, or the client said so."""
        return self._end() if self._start is not None else None

    def settle(self) -> SpeechEnded | None:
        """Ends the utterance if its pause is longer than `patience` by now."""
        return self._end() if self._silent_enough() else None

    def _step(self, probability: float, window: int) -> Iterator[Found]:
        if self._start is None:
            began = self._look_for_speech(probability, window)
            if began is not None:
                yield began
            return
        taking, here = self.taking, self._position
        speech = probability >= taking.threshold - HYSTERESIS
        if not speech:
            self._windows = 0
        elif not self._paused:
            self._last_speech = here
        elif (windows := self._windows + 1) < RESUMES:
            self._windows = windows
            return  # whether this ends the pause is seen in the next window
        else:
            self._paused, self._last_speech, self._windows = False, here, 0
            self.patience = self.default
            yield SpeechResumed(self._start, here - RESUMES * window, here)
        too_long = speech and here - self._start >= round(taking.max_utterance * AXIS_RATE)
        if too_long or self._silent_enough():
            yield self._end()
        elif not self._paused and self._long_enough_to_run_ahead(here):
            self._paused = True
            yield SpeechPaused(self._start, self._last_speech, here)

    def _look_for_speech(self, probability: float, window: int) -> SpeechBegan | None:
        here = self._position
        if probability < self.taking.threshold:
            self._run_start = None
            return None
        if self._run_start is None:
            self._run_start = here - window
        if here - self._run_start < round(self.taking.min_speech * AXIS_RATE):
            return None
        self._start, self._last_speech, self._run_start = self._run_start, here, None
        self._paused, self._windows, self.patience = False, 0, self.default
        return SpeechBegan(self._start, here)

    def _long_enough_to_run_ahead(self, here: int) -> bool:
        after = self.taking.speculate_after
        return after is not None and here - self._last_speech >= round(after * AXIS_RATE)

    def _silent_enough(self) -> bool:
        silence = self._position - self._last_speech
        return self._start is not None and not self._windows and silence >= round(self.patience * AXIS_RATE)

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
