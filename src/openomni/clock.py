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


DRIFT = 200e-6
"""How fast two clocks move apart at most, in seconds a second: either is off by up to 100 ppm."""


@dataclass(frozen=True, slots=True)
class _Trip:
    """What one round trip says: at the stamp `at` the offset was `seconds`, give or take `reach`."""

    at: float
    seconds: float
    reach: float

    def uncertainty(self, now: float) -> float:
        return self.reach + DRIFT * max(now - self.at, 0.0)


class OffsetEstimator:
    """Estimates the offset to another clock from round trips.

    A round trip bounds the offset to ± half of its time on the wire, whatever the asymmetry (RFC 5905), and from then
    on the clocks move apart by up to `DRIFT`. Of the last `window` the one with the narrowest bounds is believed: a
    quick one over a slow one, a fresh one over one that was quicker long ago. What contradicts the newest is from
    before the clock jumped, or from before a machine slept, and is forgotten.
    """

    def __init__(self, window: int = 32) -> None:
        self._trips: deque[_Trip] = deque(maxlen=window)

    def add(self, sent: float, remote_received: float, remote_sent: float, received: float) -> None:
        """One round trip: stamps of this machine (`sent`, `received`) and of the other one."""
        wire = max((received - sent) - (remote_sent - remote_received), 0.0)
        newest = _Trip(received, ((remote_received - sent) + (remote_sent - received)) / 2, wire / 2)
        agree = [
            each for each in self._trips
            if abs(each.seconds - newest.seconds) <= each.uncertainty(received) + newest.reach
        ]  # fmt: skip
        self._trips = deque([*agree, newest], self._trips.maxlen)

    @property
    def offset(self) -> Offset | None:
        """The best estimate when the last round trip ended; None before the first one."""
        return self.at(self._trips[-1].at) if self._trips else None

    def at(self, now: float) -> Offset | None:
        """The best estimate at a stamp of this machine, its uncertainty grown by then."""
        if not self._trips:
            return None
        best = min(self._trips, key=lambda trip: trip.uncertainty(now))
        return Offset(best.seconds, best.uncertainty(now))
