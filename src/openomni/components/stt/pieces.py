"""Long speech in pieces that a model's window holds, cut where it is quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import Lazy
from ...media import Audio

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

QUIET = 0.2
"""Seconds whose energy is compared: shorter than a pause for breath, longer than the closure of a `p` or a `t`."""
SHORTEST = 0.5
"""A piece is no shorter than this share of the window, so that a model has context and a call is worth its price."""


def pieces(audio: Audio, longest: float) -> list[Audio]:
    """The sound in pieces of at most `longest` seconds, each but the last cut at the quietest moment of its second
    half.

    Where a piece ends depends only on the `longest` seconds from its beginning: as speech goes on, the pieces of its
    beginning stay what they were.
    """
    found = []
    while audio.duration > longest:
        cut = SHORTEST * longest + quietest(audio.cut(SHORTEST * longest, longest))
        found.append(audio.cut(0, cut))
        audio = audio.cut(cut)
    return [*found, audio]


def quietest(audio: Audio) -> float:
    """The middle of the `QUIET` seconds with the least energy."""
    width = round(QUIET * audio.rate)
    energy = np.cumsum(np.square(audio.samples, dtype=np.float64))
    return (int((energy[width:] - energy[:-width]).argmin()) + width / 2) / audio.rate
