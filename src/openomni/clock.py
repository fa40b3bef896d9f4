"""Time: monotonic stamps, and how far apart two machines' clocks are.

All stamps are seconds of a monotonic clock. On one machine every process reads the same one; between machines an
`Offset` with its uncertainty carries a stamp over.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_source: Callable[[], float] = time.monotonic


def now() -> float:
    """Seconds of the monotonic clock; a virtual one inside `using`."""
    return _source()


@contextmanager
def using(source: Callable[[], float]) -> Iterator[None]:
    """Reads time from `source` instead, for tests on a virtual clock."""
    global _source
    before, _source = _source, source
    try:
        yield
    finally:
        _source = before


@dataclass(frozen=True, slots=True)
class Offset:
    """What to add to a local stamp to get the other machine's, give or take `uncertainty` seconds."""

    seconds: float = 0.0
    uncertainty: float = 0.0

    def to_remote(self, local: float) -> float:
        return local + self.seconds

    def to_local(self, remote: float) -> float:
        return remote - self.seconds


class OffsetEstimator:
    """Estimates the offset to another clock from round trips.

    A round trip bounds the offset to ± half of its time on the wire, whatever the asymmetry, so the shortest of the
    last `window` is believed (the minimum filter of NTP, RFC 5905). Older ones drift out, which follows clock drift.
    """

    def __init__(self, window: int = 32) -> None:
        self._trips: deque[tuple[float, float]] = deque(maxlen=window)

    def add(self, sent: float, remote_received: float, remote_sent: float, received: float) -> None:
        """One round trip: stamps of this machine (`sent`, `received`) and of the other one."""
        wire = (received - sent) - (remote_sent - remote_received)
        offset = ((remote_received - sent) + (remote_sent - received)) / 2
        self._trips.append((max(wire, 0.0), offset))

    @property
    def offset(self) -> Offset | None:
        """The best estimate; None before the first round trip."""
        if not self._trips:
            return None
        wire, seconds = min(self._trips)
        return Offset(seconds, wire / 2)
