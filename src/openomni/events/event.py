"""What all events share."""

from __future__ import annotations

import msgspec

AXIS_RATE = 16_000
"""Samples a second on a session's axis, whatever rate a device captures at."""


class Event(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """What all events share: a class name as their `type`."""
