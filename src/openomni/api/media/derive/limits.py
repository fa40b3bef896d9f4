"""What deriving from one file may take."""

from __future__ import annotations

LEAST_S, BYTES_A_SECOND, MOST_S = 30.0, 256 << 10, 3600.0
"""Seconds of processor time: so many, and one for so many bytes; never more than the last."""
TIMES_AS_LONG = {"playable": 8.0}
"""Of what else is granted: compressing pictures takes longer than reading them."""
WAITING = 20.0
"""Seconds that may pass for each of processor time, for who runs when nobody else wants to."""


def seconds(kind: str, size: int) -> float:
    """Processor time for a file of `size` bytes."""
    return min((LEAST_S + size / BYTES_A_SECOND) * TIMES_AS_LONG.get(kind, 1.0), MOST_S)
