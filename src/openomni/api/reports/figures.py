"""The figures of a row: its values, and what is said of them."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from ...evaluation import intervals

OF_TASKS = ("queue_s", "lost_s", "transfer_s", "load_s", "model_s", "ttfb_s", "total_s")
"""Of one stage of a turn, in seconds. `total_s`: from when it could have begun until it ended."""
OF_TURNS = ("voice_to_voice_s", "turn_s")
"""Of a turn, in seconds. `turn_s`: from its zero, the person's last sound or, in the queue, when it was claimed, until
the last sound of the reply was made."""
QUANTILES = (("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99))
TAIL = 0.95


def summary(values: array[float]) -> dict[str, Any]:
    """What a row says of its values, one at least: quantiles linear between neighbours, `sd` with n − 1.

    `mean_interval` is null for one value, and `p95_interval` where fewer than 10 values lie beyond it, below 200: the
    figure itself is given anyhow, for it is what was measured.
    """
    row = np.frombuffer(values, np.float64)
    mean, *around_mean = intervals.mean(row)
    found = np.quantile(row, [share for _, share in QUANTILES])
    _, *around_tail = intervals.quantile(row, TAIL) if intervals.enough(len(row), TAIL) else (None, None, None)
    return {
        "count": len(row),
        "mean": mean,
        "sd": float(row.std(ddof=1)) if len(row) > 1 else None,
        "min": float(row.min()),
        **{name: float(value) for (name, _), value in zip(QUANTILES, found, strict=True)},
        "max": float(row.max()),
        "mean_interval": _interval(around_mean),
        "p95_interval": _interval(around_tail),
    }


def _interval(ends: list[float | None]) -> list[float] | None:
    known = [end for end in ends if end is not None]
    return known if len(known) == 2 else None
