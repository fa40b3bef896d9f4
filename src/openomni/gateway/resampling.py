"""Sound that comes in pieces, from one rate to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import soxr


def stream_resampler(source: int, target: int) -> soxr.ResampleStream:
    """For PCM16 that comes in pieces. `LQ`, because the better filters hold back 40 ms of sound, which is latency."""
    import soxr

    return soxr.ResampleStream(source, target, 1, dtype="int16", quality="LQ")
