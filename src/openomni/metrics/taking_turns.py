"""Who had the word: who was not answered, talked over, cut off, and how fast a reply fell silent when somebody spoke.

All rates are of the sample's utterances, whatever became of them, so that none is dropped.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .declaring import metric
from .results import Measured, NotApplicable, not_applicable
from .runs import Run
from .waiting import mean_of
from .words import share

NOT_LIVE = "at fast pace each utterance is given whole, and nobody takes turns"


@metric("unanswered_rate", version="1", better="lower", kind="accuracy", statistic="rate")
def unanswered_rate(run: Run) -> Measured:
    """Share of the utterances that got no reply: answered by silence, failed on the way, or never heard as a turn."""
    utterances = range(len(run.sample.utterances))
    return share(
        sum(not any(turn.answered for turn in run.of_utterance(index)) for index in utterances), len(utterances)
    )


@metric("early_rate", version="1", better="lower", kind="accuracy", statistic="rate")
def early_rate(run: Run) -> Measured | NotApplicable:
    """Share of the utterances whose reply was heard before the person had finished: a voice-to-voice below zero."""
    if not run.live:
        return not_applicable(NOT_LIVE)
    utterances = range(len(run.sample.utterances))
    early = [any((turn.voice_to_voice_s or 0.0) < 0 for turn in run.of_utterance(index)) for index in utterances]
    return share(sum(early), len(utterances))


class _InTime:
    """What both have in common."""

    def __init__(self, late_after_s: Annotated[float, Meta(gt=0, le=60)] = 3.0) -> None:
        self._late = late_after_s

    def _waits(self, run: Run) -> list[float | None]:
        """How long each utterance was waited for; None where nobody heard a reply."""
        found = []
        for index in range(len(run.sample.utterances)):
            heard = [turn.voice_to_voice_s for turn in run.of_utterance(index) if turn.voice_to_voice_s is not None]
            found.append(heard[-1] if heard else None)
        return found


@metric("on_time_rate", version="1", better="higher", kind="accuracy", statistic="rate")
class OnTimeRate(_InTime):
    """Share of the utterances whose reply began after the person had finished, and soon enough.

    Args:
        late_after_s: Seconds after the last speech sample from which a reply is late.
    """

    def measure(self, run: Run) -> Measured | NotApplicable:
        if not run.live:
            return not_applicable(NOT_LIVE)
        waits = self._waits(run)
        return share(sum(each is not None and 0 <= each <= self._late for each in waits), len(waits))


@metric("late_rate", version="1", better="lower", kind="accuracy", statistic="rate")
class LateRate(_InTime):
    """Share of the utterances whose reply came, but late.

    Args:
        late_after_s: Seconds after the last speech sample from which a reply is late.
    """

    def measure(self, run: Run) -> Measured | NotApplicable:
        if not run.live:
            return not_applicable(NOT_LIVE)
        waits = self._waits(run)
        return share(sum(each is not None and each > self._late for each in waits), len(waits))


@metric("cut_rate", version="1", better="lower", kind="accuracy", statistic="rate")
def cut_rate(run: Run) -> Measured | NotApplicable:
    """Share of the utterances that were cut: a turn was taken before its last speech sample, or several made of it."""
    if not run.live:
        return not_applicable(NOT_LIVE)
    utterances = range(len(run.sample.utterances))
    made = [[turn for turn in run.of_utterance(index) if turn.outcome != "dismissed"] for index in utterances]
    return share(sum(len(turns) > 1 or any(turn.cut for turn in turns) for turns in made), len(utterances))


@metric("yield_s", version="1", unit="s", better="lower", kind="latency")
def yield_s(run: Run) -> Measured | NotApplicable:
    """From the first sample of what a person said into a reply until that reply was silent: stopped, or at its end."""
    stopped = [turn.yield_s for turn in run.turns if turn.yield_s is not None]
    return mean_of(run.yields_s or stopped, "nobody spoke into a reply")
