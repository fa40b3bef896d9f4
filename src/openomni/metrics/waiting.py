"""How long people, and machines, waited: until the reply is heard, until all of it is spoken, and per second of speech.

A turn that nobody answered has no latency. It is never a zero, and it is not lost: the detail counts it, and
`unanswered_rate` says how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ..latency import counts
from .declaring import metric
from .results import Measured, NotApplicable, not_applicable
from .runs import Run, RunTurn


def mean_of(values: Sequence[float], run: Run, none: str) -> Measured | NotApplicable:
    """Of a run's turns, with how many there are and what became of the others."""
    unanswered = sum(not run.of_utterance(index) for index in range(len(run.sample.utterances)))
    unanswered += sum(turn.outcome == "unanswered" for turn in run.turns)
    detail = {
        "turns": len(values), "unanswered": unanswered,
        "interrupted": sum(turn.interrupted for turn in run.turns),
        "failed": sum(turn.status == "failed" for turn in run.turns),
    }  # fmt: skip
    return Measured(fmean(values), detail) if values else not_applicable(none, **detail)


@metric("voice_to_voice_s", version="1", unit="s", better="lower", kind="latency", statistic="p50")
def voice_to_voice_s(run: Run) -> Measured | NotApplicable:
    """From the last speech sample of the person to the first audible one of the reply, at the client.

    It is signed: below zero the reply began before the person had finished. Of a dialogue, the mean of its turns; those
    that were interrupted, failed or not answered have none. At fast pace nobody listens, and it is not applicable.
    """
    if run.turns and not any(turn.live for turn in run.turns):
        return not_applicable("at fast pace nobody hears the reply; turn_s says how long it took")
    found = [
        turn.voice_to_voice_s for turn in run.turns if counts(turn.status, turn.interrupted, turn.voice_to_voice_s)
    ]
    return mean_of([each for each in found if each is not None], run, "no turn was answered and heard")


@metric("turn_s", version="1", unit="s", better="lower", kind="latency", statistic="p50")
def turn_s(run: Run) -> Measured | NotApplicable:
    """At fast pace, from where an agent claimed the turn to the last sound of its reply.

    Waiting in the queue is no part of it. Of a dialogue, the mean of its turns.
    """
    if any(turn.live for turn in run.turns):
        return not_applicable(
            "at real-time pace a reply takes as long as it is spoken; voice_to_voice_s has the latency"
        )
    found = [turn.turn_s for turn in run.turns if turn.counts and turn.turn_s is not None]
    return mean_of(found, run, "no turn was answered")


@metric("rtf", version="1", better="lower", kind="latency")
def rtf(run: Run) -> Measured | NotApplicable:
    """Real-time factor: seconds in the models of all stages ÷ seconds of what was said; below 1 keeps up with speech.

    Seconds of stages that ran beside each other are added up. Of a dialogue, all of its turns together.
    """
    counted = [turn for turn in run.turns if turn.counts and turn.utterance_s and _seconds(turn) is not None]
    if not counted:
        return not_applicable("no turn has both times of its stages and sound that was said")
    worked, said = sum(_seconds(turn) or 0.0 for turn in counted), sum(turn.utterance_s or 0.0 for turn in counted)
    return Measured(worked / said, {"model_s": round(worked, 6), "spoken_s": round(said, 6), "turns": len(counted)})


def _seconds(turn: RunTurn) -> float | None:
    found = [stage.model_s for stage in turn.stages if stage.status == "completed" and stage.model_s is not None]
    return sum(found) if found else None
