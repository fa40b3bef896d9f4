"""The metrics that come along. Importing this declares them; what they run on is imported when one is built."""

from __future__ import annotations

from . import costs, heard, replies, speech, stages, taking_turns, waiting, words

__all__ = ["costs", "heard", "replies", "speech", "stages", "taking_turns", "waiting", "words"]
