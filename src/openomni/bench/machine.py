"""What a figure was measured on: it means little without."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from .. import clock
from ..lazy import Lazy
from ..version import __version__

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

SIZE = 512
"""Rows and columns of the matrices whose products are timed."""
TIMED_SECONDS = 0.3


def describe() -> dict[str, object]:
    """Processor, cores, memory in bytes, how fast it is by now, system and versions."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gflops": round(gflops(), 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "openomni": __version__,
    }


def gflops() -> float:
    """Billions of operations a second in products of float32 matrices. A shared machine may be half as fast an hour
    later, and figures of two runs can only be compared where this is alike."""
    matrix = np.random.default_rng(0).random((SIZE, SIZE), np.float32)
    _ = matrix @ matrix
    began, done = clock.now(), 0
    while clock.now() - began < TIMED_SECONDS:
        _ = matrix @ matrix
        done += 1
    return 2 * SIZE**3 * done / (clock.now() - began) / 1e9


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
