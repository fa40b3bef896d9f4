"""What became of turns: each counts once, and the counts add up to all of them."""

from __future__ import annotations

from ..records.models import UNFINISHED, Progress

OUTCOMES = ("on_time", "late", "early", "interrupted", "unanswered", "failed", "cancelled", "missing")


def outcome_of(
    status: str, outcome: str, interrupted: bool, live: bool, voice_to_voice_s: float | None, late_after_s: float
) -> str:
    """The first that holds of failed, cancelled, missing, unanswered, interrupted, early, late, on_time.

    Args:
        status: Of the turn: `records.Status`. One that is not over is missing; one that another took the place of is
            cancelled.
        outcome: `records.Outcome`; empty where nobody said. What was lost with its agent is missing.
        interrupted: Its reply was stopped.
        live: Somebody could hear the reply, so without a voice-to-voice there was none, unless its outcome says more.
        voice_to_voice_s: In seconds; below 0 it began before the person had finished.
        late_after_s: What is above it, in seconds, is late. What nobody waited for, a queued turn, never is.
    """
    if Progress.FAILED in (status, outcome):
        return "failed"
    if Progress.CANCELLED in (status, outcome) or status == Progress.SUPERSEDED:
        return "cancelled"
    if status in UNFINISHED or outcome == "lost":
        return "missing"
    if outcome in ("unanswered", "dismissed") or (not outcome and live and voice_to_voice_s is None):
        return "unanswered"
    if interrupted or outcome == "interrupted":
        return "interrupted"
    if voice_to_voice_s is None:
        return "on_time"
    if voice_to_voice_s < 0:
        return "early"
    return "late" if voice_to_voice_s > late_after_s else "on_time"
