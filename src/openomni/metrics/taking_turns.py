"""Who had the word: who was not answered, talked over, cut off, and how fast a reply fell silent when somebody spoke.

All rates are of the sample's utterances, whatever became of them, so that none is dropped.
"""

from __future__ import annotations

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
