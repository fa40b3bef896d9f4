"""How long people, and machines, waited: until the reply is heard, until all of it is spoken, and per second of speech.

A turn that nobody answered has no latency, and is not left out for that: its run has the outcome `failed`, which a
comparison takes as endless. A latency of zero or less is one like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from .declaring import metric
from .results import Measured, NotApplicable, Unanswered, not_applicable, unanswered
from .runs import Run, RunTurn


def mean_of(values: Sequence[float], none: str) -> Measured | NotApplicable:
    """Of what was measured in a run, with how often."""
    return Measured(fmean(values), {"turns": len(values)}) if values else not_applicable(none)


def _latency(run: Run, of: Callable[[RunTurn], float | None]) -> Measured | NotApplicable | Unanswered:
    """The mean over a run's utterances. What was interrupted has none, and is no fault of who was."""
    total = len(run.sample.utterances)
    values, interrupted = [], 0
    for index in range(total):
        turns = run.of_utterance(index)
        found = [seconds for turn in turns if turn.counts and turn.answered and (seconds := of(turn)) is not None]
        if found:
            values.append(found[-1])  # of one that was cut in two, the reply to all of it
        elif any(turn.interrupted for turn in turns):
            interrupted += 1
    never = total - len(values) - interrupted
    counted = {"turns": len(values), "interrupted": interrupted, "unanswered": never}
    if never:
        what = "it was never answered" if total == 1 else f"{never} of {total} utterances were never answered"
        return unanswered(what, **counted)
    return Measured(fmean(values), counted) if values else not_applicable("every reply was interrupted", **counted)


@metric("voice_to_voice_s", version="1", unit="s", better="lower", kind="latency", statistic="p50")
def voice_to_voice_s(run: Run) -> Measured | NotApplicable | Unanswered:
    """From the last speech sample of the person to the first audible one of the reply, at the client.

    It is signed: below zero the reply began before the person had finished. Of a dialogue, the mean of its utterances;
    a reply that was interrupted counts in none. Where one was never answered there is no mean: it failed. At fast pace
    nobody listens, and it is not applicable.
    """
    if not run.live:
        return not_applicable("at fast pace nobody hears the reply; turn_s says how long it took")
    return _latency(run, lambda turn: turn.voice_to_voice_s)


@metric("turn_s", version="1", unit="s", better="lower", kind="latency", statistic="p50")
def turn_s(run: Run) -> Measured | NotApplicable | Unanswered:
    """At fast pace, from where an agent claimed the turn to the last sound of its reply.

    Waiting in the queue is no part of it. Of a dialogue, the mean of its utterances; where one was never answered it
    failed.
    """
    if run.live:
        return not_applicable("at real-time pace a reply takes as long as it is spoken; see voice_to_voice_s")
    return _latency(run, lambda turn: turn.turn_s)


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
