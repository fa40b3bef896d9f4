"""What a caller says: a sound of which it is known where its speech begins and ends."""

from __future__ import annotations

from dataclasses import dataclass

from ...events import AXIS_RATE
from ...media import Audio


@dataclass(frozen=True, slots=True)
class SpokenUtterance:
    """`audio` at 16 kHz; `start` and `end` are the places of its first speech sample and of the one after the last."""

    name: str
    voice: str
    audio: Audio
    start: int
    end: int
    text: str | None = None
    """What it says, where its player wrote that."""
    real: bool = False
    pauses: tuple[tuple[int, int], ...] = ()
    """Silences that were put into it, as (start, end)."""

    @property
    def seconds(self) -> float:
        """Of the speech."""
        return (self.end - self.start) / AXIS_RATE
