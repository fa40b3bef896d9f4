"""An utterance as the benchmarks use it: where its speech begins and ends is known, by one fixed offline VAD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ..client.caller.utterance import SpokenUtterance
from ..components.vad.offline import audible, speech
from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..media import AUDIBLE, Audio, Samples

LOUDNESS = 10 ** (-26 / 20)
"""Root mean square of the speech in every utterance, so that no voice is favoured."""
PEAK = 0.9
FADE_S = 0.008
EDGE_S = 0.04
"""Sound kept before the first and after the last speech sample: soft beginnings and endings."""
NEAR_S = 0.08
"""How far from where a recogniser puts the end of a word the quietest instant is looked for."""
STEP = AXIS_RATE // 100


def utterance(name: str, voice: str, audio: Audio, text: str = "", real: bool = False) -> SpokenUtterance:
    """At 16 kHz, at the common loudness, without what lies before and after the speech. Raises OpenOmniError where
    the VAD finds none."""
    audio = audio.resample(AXIS_RATE)
    windows = speech(audio)
    if not windows:
        raise OpenOmniError(f"no speech found in {name}; check the recording")
    spoken = np.concatenate([audio.samples[first:last] for first, last in windows])
    rms, peak = float(np.sqrt(np.mean(spoken**2))), float(np.abs(audio.samples).max())
    gain = min(LOUDNESS / max(rms, 1e-6), PEAK / max(peak, 1e-6))
    start, end = audible(audio.samples * gain, windows[0][0], windows[-1][1])
    edge = round(EDGE_S * AXIS_RATE)
    first, last = max(start - edge, 0), min(end + edge, len(audio.samples))
    kept = faded(audio.samples[first:last] * gain)
    return SpokenUtterance(name, voice, Audio(kept, AXIS_RATE), start - first, end - first, text, real)


def longest_silence(audio: Audio) -> float:
    """Seconds of the longest stretch between its first and last speech in which nobody speaks."""
    windows = speech(audio)
    gaps = (after[0] - before[1] for before, after in pairwise(windows))
    return max(gaps, default=0) / AXIS_RATE


def with_pauses(spoken: SpokenUtterance, pauses: Sequence[tuple[float, float]]) -> SpokenUtterance:
    """The same with silences put in: `pauses` are (after how many seconds of `audio`, how long), in their order.

    Each is cut at the quietest instant nearby and faded on both sides; the room's own noise fills it where it is
    played. Where the speaker was silent for a moment already, that counts: the whole pause is as long as is said.
    """
    samples = spoken.audio.samples
    pieces: list[Samples] = []
    made: list[tuple[int, int]] = []
    position = shift = 0
    for at, seconds in pauses:
        cut = max(quietest(samples, round(at * AXIS_RATE)), position)
        before, after = silent_around(samples, cut)
        length = max(round(seconds * AXIS_RATE) - before - after, 0)
        pieces += [faded(samples[position:cut]), np.zeros(length, np.float32)]
        made.append((cut + shift - before, cut + shift + length + after))
        position, shift = cut, shift + length
    pieces.append(faded(samples[position:]))
    audio = Audio(np.concatenate(pieces), AXIS_RATE)
    return replace(spoken, name=f"{spoken.name}+pause", audio=audio, end=spoken.end + shift, pauses=tuple(made))


def quietest(samples: Samples, at: int) -> int:
    """The quietest hundredth of a second within `NEAR_S` of a sample."""
    near = round(NEAR_S * AXIS_RATE)
    first = max(at - near, 0)
    stretch = samples[first : at + near]
    whole = stretch[: len(stretch) // STEP * STEP].reshape(-1, STEP)
    if not len(whole):
        return min(at, len(samples))
    return first + int(np.argmin(np.mean(whole**2, axis=1))) * STEP + STEP // 2


def silent_around(samples: Samples, at: int) -> tuple[int, int]:
    """How many samples before and after a place nothing is louder than −40 dBFS."""
    loud = np.abs(samples) > AUDIBLE
    before, after = np.flatnonzero(loud[:at]), np.flatnonzero(loud[at:])
    return (at - int(before[-1]) - 1 if len(before) else at), (int(after[0]) if len(after) else len(samples) - at)


def faded(samples: Samples) -> Samples:
    """Fades in and out, so that a cut does not click."""
    out = np.array(samples, np.float32)
    length = min(round(FADE_S * AXIS_RATE), len(out) // 2)
    if length:
        ramp = np.linspace(0.0, 1.0, length, dtype=np.float32)
        out[:length] *= ramp
        out[-length:] *= ramp[::-1]
    return out


def cough(seed: int) -> Audio:
    """Two bursts of shaped noise: loud at once, dying away, without a voice in them."""
    random = np.random.default_rng(seed)
    bursts: list[Samples] = []
    for seconds in (0.16, 0.2):
        count = round(seconds * AXIS_RATE)
        noise = random.standard_normal(count).astype(np.float32)
        # Wide-band, with most of it around 1 kHz: two resonances over what was white.
        spectrum = np.fft.rfft(noise)
        hertz = np.fft.rfftfreq(count, 1 / AXIS_RATE)
        shape = np.exp(-(((hertz - 900) / 700) ** 2)) + 0.3 * np.exp(-(((hertz - 3000) / 1200) ** 2))
        burst = np.fft.irfft(spectrum * shape, count)
        envelope = np.minimum(np.arange(count) / (0.01 * AXIS_RATE), 1.0) * np.exp(
            -np.arange(count) / (0.06 * AXIS_RATE)
        )
        burst = burst * envelope
        bursts += [(0.35 * burst / np.abs(burst).max()).astype(np.float32), np.zeros(AXIS_RATE // 10, np.float32)]
    return Audio(np.concatenate(bursts[:-1]), AXIS_RATE)
