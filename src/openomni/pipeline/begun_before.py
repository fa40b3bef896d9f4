"""Utterances that another host heard begin and did not answer: who hears them again answers them as the same turns."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Protocol

from ..events import AXIS_RATE

SLACK = AXIS_RATE
"""How much earlier than another host's a detector may hear an utterance begin."""
LONGEST_SECONDS = 15.0
"""How long after its beginning one may be heard to begin whose first part is missing, where its end is not known."""


class Unfinished(Protocol):
    """Samples on the session's axis; `end` None: it was not decided."""

    turn_id: str
    start: int
    end: int | None


class BegunBefore:
    """Of one session."""

    def __init__(self, unfinished: Iterable[Unfinished] = ()) -> None:
        self._left = sorted(unfinished, key=lambda each: each.start)

    def turn_of(self, start: int) -> str:
        """The id of the turn of an utterance that begins at that sample: the one that it had, else a new one."""
        for each in self._left:
            last = each.start + round(LONGEST_SECONDS * AXIS_RATE) if each.end is None else each.end
            if each.start - SLACK <= start < last:
                self._left.remove(each)
                return each.turn_id
        return uuid.uuid4().hex
