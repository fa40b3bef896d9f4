"""Where speech is in a recording, by one fixed VAD: what figures count from where no reference says where it ends."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ...events import AXIS_RATE
from ...media import AUDIBLE, Audio, Samples
from .. import registry

SPEECH = 0.5
"""Probability from which a window is speech."""
SLACK_S = 0.1
"""How far from where the VAD sees speech its first and last samples are looked for."""


@cache
def _vad() -> Any:
    return registry.build("vad", "silero")


def speech(audio: Audio) -> list[tuple[int, int]]:
    """Stretches of speech as (start, end) samples at 16 kHz: the fixed offline VAD of all figures, which is Silero in
    windows of 32 ms over the clean utterance."""
    detector = _vad().open()
    size = detector.window
    padded = np.concatenate([audio.samples, np.zeros(size - len(audio.samples) % size, np.float32)])
    found: list[tuple[int, int]] = []
    for start in range(0, len(padded), size):
        if detector(padded[start : start + size]) < SPEECH:
            continue
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], start + size)
        else:
            found.append((start, start + size))
    return found


def bounds(audio: Audio) -> tuple[int, int] | None:
    """The first speech sample at 16 kHz and the one after the last; None where there is no speech."""
    windows = speech(audio)
    return audible(audio.samples, windows[0][0], windows[-1][1]) if windows else None


def audible(samples: Samples, start: int, end: int) -> tuple[int, int]:
    """The VAD's bounds, to the sample: the first and last that are louder than −40 dBFS, as the reply's first one is.

    A VAD goes on for a window or two after the last sound; counted from there, every answer would seem that much
    faster.
    """
    first = max(start - round(SLACK_S * AXIS_RATE), 0)
    loud = np.flatnonzero(np.abs(samples[first : end + round(SLACK_S * AXIS_RATE)]) > AUDIBLE)
    return (first + int(loud[0]), first + int(loud[-1]) + 1) if len(loud) else (start, min(end, len(samples)))
