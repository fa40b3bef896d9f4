"""Where people cut a recording."""

from __future__ import annotations

from itertools import pairwise

from ..bounds import MAX_SECONDS, finite
from ..errors import WrongUsage


def parse_time_points(text: str) -> list[float]:
    """`MM:SS,MM:SS,…` in seconds, growing; hours (`HH:MM:SS`) and fractions (`00:04.5`) are fine. Raises
    WrongUsage."""
    points = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            fields = [float(field) for field in part.split(":")]
        except ValueError:
            fields = []
        if not 2 <= len(fields) <= 3 or not all(map(finite, fields)) or min(fields) < 0 or max(fields[1:]) >= 60:
            raise WrongUsage(f"time points: {part!r} is no time; write MM:SS, as in 00:04,01:30")
        point = sum(field * 60**place for place, field in enumerate(reversed(fields)))
        if point > MAX_SECONDS:
            raise WrongUsage(f"time points: {part!r} is later than any recording lasts")
        points.append(point)
    if any(later <= earlier for earlier, later in pairwise(points)):
        raise WrongUsage("time points must grow from one to the next")
    return points
