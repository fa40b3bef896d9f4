"""The one room of tables that everything reads."""

from __future__ import annotations

from .conversations import UNFINISHED, Item, Progress, Recorded, Segment, Session, Turn
from .recordings import Derived, Recording
from .tags import Tag, Tagged, Tombstone
from .tasks import Attempt, Build, Task, TimePoint

__all__ = [
    "UNFINISHED",
    "Attempt",
    "Build",
    "Derived",
    "Item",
    "Progress",
    "Recorded",
    "Recording",
    "Segment",
    "Session",
    "Tag",
    "Tagged",
    "Task",
    "TimePoint",
    "Tombstone",
    "Turn",
]
