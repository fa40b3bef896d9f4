"""The door of a session: what comes in is within bounds, or it stays out, and the session goes on without it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import msgspec

from .. import jpeg
from ..bounds import MAX_POSITION, MAX_SECONDS, MAX_TEXT
from ..errors import MediaError
from ..events import AXIS_RATE, AudioIn, ItemIn, PictureIn, Played, SessionChange, SessionInput, TextIn, Truncate

log = logging.getLogger(__name__)

LONGEST_SILENCE = 60.0
"""Seconds that a client may ask for as those that end an utterance, or as padding."""


class Admission:
    """Of one session. `now` tells the time on the gateway's clock."""

    def __init__(self, session_id: str, now: Callable[[], float]) -> None:
        self._session_id, self._now = session_id, now
        self.refused = 0
        """Events that stayed out."""
        self._told: set[str] = set()

    def admit(self, event: SessionInput) -> SessionInput | None:
        """None where it stays out, of which the log has one line a sort. Sound with a wrong stamp gets a likely one: it
        must not be lost for that."""
        if reason := fault(event):
            self.refused += 1
            sort = type(event).__name__
            if sort not in self._told:
                self._told.add(sort)
                log.warning("session %s: %s stays out: %s", self._session_id, sort, reason)
            return None
        if isinstance(event, AudioIn) and not _within(event.captured):
            return msgspec.structs.replace(event, captured=self._now() - len(event.pcm) / 2 / AXIS_RATE)
        return event


def fault(event: SessionInput) -> str:
    """What is wrong with it; empty where nothing is."""
    match event:
        case AudioIn() if len(event.pcm) % 2:
            return "its sound has half a sample"
        case AudioIn() | PictureIn() if not 0 <= event.position <= MAX_POSITION:
            return "its position is on no session's axis"
        case PictureIn():
            try:
                jpeg.size(event.jpeg)
            except MediaError as error:
                return str(error)
        case TextIn() if len(event.text) > MAX_TEXT:
            return f"a text takes up to {MAX_TEXT} characters"
        case ItemIn() if len(event.message.content) > MAX_TEXT:
            return f"a text takes up to {MAX_TEXT} characters"
        case Played():
            moments = (event.started, event.audible or 0.0, event.seconds, event.uncertainty)
            return "" if all(_within(each) for each in moments) and event.seconds >= 0 else "its times are none"
        case Truncate():
            return "" if _within(event.seconds) and event.seconds >= 0 else "its time is none"
        case SessionChange():
            times = (event.silence, event.padding)
            if not all(time is None or 0 <= time <= LONGEST_SILENCE for time in times):
                return f"silence and padding take 0…{LONGEST_SILENCE:g} s"
            if event.threshold is not None and not 0 <= event.threshold <= 1:
                return "a threshold is 0…1"
    return ""


def _within(seconds: float) -> bool:
    return math.isfinite(seconds) and abs(seconds) <= MAX_SECONDS
