"""What any number, text or size from outside may be: one place for all doors.

The types are msgspec's, checked while a message is decoded; the constants serve other readers. What SQLite and
PostgreSQL can't both store is no text here: PostgreSQL knows no NUL character, and neither knows half a surrogate.
"""

from __future__ import annotations

import math
import re
from typing import Annotated

from msgspec import Meta

MAX_INT = 2**63 - 1
"""What a column for integers holds."""
MAX_POSITION = 1 << 45
"""Samples on a session's axis: 70 years at 16 kHz."""
MAX_PLACE = 2**31 - 1
"""Of a member of an ordered group; what PostgreSQL's smaller integers hold."""
MAX_RATE = 768_000
"""Samples a second; no sound card has more."""
MIN_MOMENT, MAX_MOMENT = 0.0, 4_102_444_800.0
"""Unix times: 1970 to 2100."""
MAX_SECONDS = 1e9
"""A duration, or a distance on a timeline, either way: 30 years."""

MAX_ID = 64
MAX_NAME = 200
MAX_LINE = 2_000
"""Characters of a reason, a source, a note."""
MAX_TEXT = 256 << 10
"""Characters of a transcript or a reply: some ten hours of speech."""

MAX_MESSAGE = 1 << 20
"""Bytes of one message on the bus."""
MAX_RECORD = MAX_MESSAGE - (16 << 10)
"""Bytes of a record; the rest is for its envelope."""

STRANGERS_BODY = 64 << 10
"""Bytes that somebody unknown may send over HTTP: enough for a form to sign in."""
MAX_JSON = 4 << 20
"""Bytes of a JSON body of REST."""
MAX_PART = 16 << 20
"""Bytes of any other body: one part of an upload."""

MAX_PICTURE_BYTES = 8 << 20
MAX_PICTURE_SIDE = 8_192
MAX_PIXELS = 16 << 20
"""Of one picture: 4096 × 4096, 48 MiB decoded."""

Position = Annotated[int, Meta(ge=0, le=MAX_POSITION)]
Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
Rate = Annotated[int, Meta(ge=1, le=MAX_RATE)]
Moment = Annotated[float, Meta(ge=MIN_MOMENT, le=MAX_MOMENT)]
"""A Unix time; 0 says that it isn't known."""
Seconds = Annotated[float, Meta(ge=-MAX_SECONDS, le=MAX_SECONDS)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID, pattern=r"^[A-Za-z0-9._:-]+$")]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
"""As `uuid.UUID.hex` has it: what goes into a binary frame as 16 bytes."""
Name = Annotated[str, Meta(max_length=MAX_NAME)]
Line = Annotated[str, Meta(max_length=MAX_LINE)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> bool:
    """Whether both databases store this text as it is."""
    return _UNSTORABLE.search(text) is None


def stored(text: str) -> str:
    """The text with U+FFFD in place of what can't be stored: for text that must not be lost for one character."""
    return _UNSTORABLE.sub("�", text)


def storable_json(value: object, depth: int = 20) -> bool:
    """Whether both databases store this as JSON and give the same back: no NaN, no NUL, integers of 64 bits, and
    nothing deeper than `depth`."""
    match value:
        case None | bool():
            return True
        case str():
            return storable(value)
        case int():
            return -MAX_INT - 1 <= value <= MAX_INT
        case float():
            return math.isfinite(value)
        case list() | tuple():
            return depth > 0 and all(storable_json(each, depth - 1) for each in value)
        case dict():
            return depth > 0 and all(
                isinstance(key, str) and storable(key) and storable_json(each, depth - 1) for key, each in value.items()
            )
    return False


def finite(value: float, low: float = -MAX_SECONDS, high: float = MAX_SECONDS) -> bool:
    """Whether it is a number, and within bounds; NaN is none."""
    return math.isfinite(value) and low <= value <= high
