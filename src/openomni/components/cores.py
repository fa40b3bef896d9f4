"""How many threads a model gets when nothing else is said."""

from __future__ import annotations

import os


def threads_for(wanted: int) -> int:
    """`wanted`, or for 0 one per physical core that this process may use: models gain nothing from hyper-threads."""
    if wanted > 0:
        return wanted
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or usable, usable))
