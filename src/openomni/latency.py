"""How long turns took, in figures: which of them count, and their middle and tail, the same wherever they are shown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

COMPLETED = "completed"


def counts(status: str, interrupted: bool, voice_to_voice_s: float | None) -> bool:
    """Whether a turn's voice-to-voice is among those that figures are made of: it was answered and heard, and nobody
    spoke into it. What failed or was cut says nothing about how long an answer takes."""
    return status == COMPLETED and not interrupted and voice_to_voice_s is not None


def median(values: Iterable[float | None]) -> float | None:
    """Of what was measured; None where nothing was."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def percentile(values: Iterable[float | None], share: float) -> float | None:
    """`share` from 0 to 100, linear between neighbours; None where nothing was measured."""
    import numpy as np

    known = [value for value in values if value is not None]
    return float(np.percentile(known, share)) if known else None
