"""What all events share."""

from __future__ import annotations

import msgspec

AXIS_RATE = 16_000
"""Samples a second on a session's axis, whatever rate a device captures at."""


class Event(msgspec.Struct, frozen=True, tag_field="type"):
    """What all events share: a `type`, by which an older reader knows what it may skip. Fields are added with a
    default, and none is ever taken away or given another meaning."""
