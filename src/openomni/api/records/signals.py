"""What other apps do when something is recorded, in the transaction that records it."""

from __future__ import annotations

from django.dispatch import Signal

turn_lost = Signal()
"""Whoever was to answer a turn was gone before it gave an answer. Sends `turn`, the row."""
broken_off = Signal()
"""Nobody answered what was said there, or may have been. Sends `record`, the `BrokenOffRecord`, and `session`."""
turn_written = Signal()
"""A snapshot of a turn that was news is in the tables. Sends `turn`, the row, and `record`, the `TurnRecord`."""
cell_written = Signal()
"""A real-time cell of an experiment was played, or given up. Sends `record`, the `CellRecord`."""
turn_failed = Signal()
"""A turn failed, and nobody is left to record it: its work was put aside. Sends `turn`, the row."""

recording_completed = Signal()
"""All bytes of a recording are here, and it says so. Sends `recording`, the row."""
