"""What a metric is given: a run of a sample, with its turns, their stages, and their sound when it is asked for.

Frozen values that travel as JSON. All `_s` fields are seconds; those of a stage count from the turn's last user speech
sample, or, at fast pace, from where an agent claimed the turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from ..datasets import Sample, Sound, Utterance
from ..datasets.listening import stretch_of
from ..errors import MediaError, OpenOmniError
from ..media import Audio
from ..records import UsageRecord

KEPT_SOUNDS = 2
"""Decoded sounds that stay in memory for the next metric: a reply, and what it answers."""


class SoundAwaited(OpenOmniError):
    """A sound is not here yet, and will be; nothing is known of what was to be measured."""


class RunStage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one stage of a turn took, gave and consumed; None where it was not measured."""

    kind: str
    component: str
    revision: int = 0
    agent: str = ""
    status: str = "completed"
    reason: str = ""
    queue_s: float | None = None
    lost_s: float | None = None
    transfer_s: float | None = None
    load_s: float | None = None
    model_s: float | None = None
    ttfb_s: float | None = None
    started_s: float | None = None
    ended_s: float | None = None
    output: dict[str, Any] = {}
    usage: UsageRecord | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.component}"


class RunTurn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn of a run, with the utterance that it answers."""

    index: int = 0
    """Which of the sample's utterances it is of, from 0; several turns are of one where the pipeline cut it."""
    utterance: Utterance | None = None
    """With its references; None for a turn that none of the sample's utterances began."""
    turn_id: str = ""
    transcript: str = ""
    reply_text: str = ""
    reply_sound: Sound | None = None
    """Where the reply's sound is on this machine; `reply()` has the sound itself."""
    reply_awaited: bool = False
    """It is on its way yet."""
    spoken_sound: Sound | None = None
    """Where that of the utterance is; `utterance_sound()` has it."""
    utterance_s: float | None = None
    """How long the utterance lasts."""
    stages: tuple[RunStage, ...] = ()
    voice_to_voice_s: float | None = None
    """Signed: below zero the reply began before the person had finished. None where nobody heard one."""
    turn_s: float | None = None
    """At fast pace, from the claim to the reply's last sound; else None."""
    outcome: str = ""
    """`records.Outcome`: answered, unanswered, interrupted, failed, cancelled, dismissed or lost."""
    status: str = "completed"
    reason: str = ""
    interrupted: bool = False
    warm: bool | None = None
    overlap_s: float | None = None
    """How long both spoke; None where nobody spoke into the reply."""
    yield_s: float | None = None
    """From the first sample of what stopped the reply until it was silent."""
    heard_s: float | None = None
    """How much of its reply was heard before that was stopped; None where it was heard to its end, or nobody says."""
    language: str = ""
    cut: bool | None = None
    """Whether the pipeline took the turn before the utterance was over; None where nobody can say."""
    given: dict[str, str] = {}
    """By kind, the stages whose output was given rather than made."""
    time_points: dict[str, float] = {}

    def reply(self) -> Audio | None:
        """The reply as it was spoken, mono; None where there was none. Raises MediaError for sound that is broken, and
        SoundAwaited while it is on its way: who asked is asked again later."""
        if self.reply_awaited:
            raise SoundAwaited("the sound of the reply is on its way yet; score again later")
        return None if self.reply_sound is None else _sound(self.reply_sound)

    def utterance_sound(self) -> Audio:
        """What was said, mono. Raises MediaError where it is not there, or broken."""
        if self.spoken_sound is None:
            raise MediaError("the sound of this utterance is not kept here")
        return _sound(self.spoken_sound)

    def usage(self) -> Mapping[str, UsageRecord]:
        """What its stages consumed, by `kind:component`, as far as it is known."""
        return {stage.name: stage.usage for stage in self.stages if stage.usage is not None}

    def of_kind(self, kind: str) -> list[RunStage]:
        """The stages of a kind that count: those that took part in the reply."""
        return [stage for stage in self.stages if stage.kind == kind and stage.status == "completed"]

    @property
    def counts(self) -> bool:
        """Whether its times are among those that figures are made of: it went to its end, and nobody spoke into it."""
        return self.status == "completed" and not self.interrupted

    @property
    def kept_text(self) -> str:
        """What is remembered of the reply: of one that was cut, as much as was heard by the record's account."""
        return next((str(stage.output["heard"]) for stage in self.stages if "heard" in stage.output), self.reply_text)

    @property
    def answered(self) -> bool:
        """Whether there was a reply, whole or as far as somebody let it go on."""
        return self.outcome in ("answered", "interrupted")


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a sample (an utterance or a dialogue) through a pipeline: a cell of an experiment."""

    sample: Sample
    cell: str = ""
    pipeline: str = ""
    """Its label in the experiment."""
    kinds: tuple[str, ...] = ()
    """Of the stages that the pipeline has; empty where that is not known."""
    repeat: int = 1
    live: bool = False
    """At real-time pace, as a person has it; at fast pace its utterances went through the queue."""
    turns: tuple[RunTurn, ...] = ()
    yields_s: tuple[float, ...] = ()
    """At real-time pace, of each utterance that was said into a reply, how long that went on, stopped or not. Some of
    these utterances made no turn."""

    @property
    def transcript(self) -> str:
        """What was recognised in all of it."""
        return _joined(turn.transcript for turn in self.turns)

    @property
    def reply_text(self) -> str:
        """All replies, one after the other."""
        return _joined(turn.reply_text for turn in self.turns)

    def of_utterance(self, index: int) -> list[RunTurn]:
        """The turns that were made of one of the sample's utterances; none where it was never heard."""
        return [turn for turn in self.turns if turn.index == index]


def _joined(texts: Any) -> str:
    return " ".join(text.strip() for text in texts if text.strip())


@lru_cache(maxsize=KEPT_SOUNDS)
def _sound(wanted: Sound) -> Audio:
    return stretch_of(Path(wanted.path), wanted)
