"""How models share one machine's cores: how many threads each gets, and who stands back for whom."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Precedence:
    """Work that somebody waits for, for which other work in this process stands back.

    Threads of two models that fight for the same cores are slower than one model after the other, by far: each of
    them meets its fellows after every operation, and has to wait for the one that lost its core.
    """

    def __init__(self) -> None:
        self._working = 0
        self._over = threading.Condition()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """While it works."""
        with self._over:
            self._working += 1
        try:
            yield
        finally:
            with self._over:
                self._working -= 1
                if not self._working:
                    self._over.notify_all()

    def give_way(self, longest: float) -> None:
        """Called between two steps of other work: returns when nothing works that goes before it, or after `longest`
        seconds."""
        if self._working:
            with self._over:
                self._over.wait_for(lambda: not self._working, longest)


@contextmanager
def ctranslate2_alone() -> Iterator[None]:
    """Around the first import of CTranslate2: its threads call into oneDNN, which would start as many again. On two
    cores Whisper's encoder takes 38 ms for 6 s then, rather than 70. Its OpenMP is a copy of its own, which looks at
    the environment once; other runtimes keep theirs."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


VOICE = Precedence()
"""A voice is a breath ahead of what is heard, a language model whole sentences: so the voice goes first."""


def threads_for(wanted: int) -> int:
    """`wanted`, or for 0 one per physical core that this process may use: models gain nothing from hyper-threads."""
    if wanted > 0:
        return wanted
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or usable, usable))
