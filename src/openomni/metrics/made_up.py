"""Runs that nobody ran: what metrics are tried on, and what their authors' tests can take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..datasets import Sample, Sound, Utterance
from ..lazy import Lazy
from ..media import Audio
from ..records import UsageRecord
from .runs import Run, RunStage, RunTurn

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

RATE = 16_000


def runs(folder: Path) -> dict[str, Run]:
    """By what is special of each: all that there can be, and all that there can be none of. Their sound is in files of
    the folder."""
    spoken, reply = _tone(folder / "spoken.wav", 1.5), _tone(folder / "reply.wav", 2.0)
    said = Utterance(
        sound=spoken,
        text="What is the capital of Peru?",
        answer="Lima",
        speaker="ana",
        emotion="neutral",
        language="en",
    )
    plain = RunTurn(
        utterance=said, turn_id="t1", transcript="What is the capital of Peru?", reply_text="It is Lima.",
        reply_sound=reply, spoken_sound=spoken, utterance_s=1.5, turn_s=0.9, outcome="answered", language="en",
        warm=True, stages=_stages(),
    )  # fmt: skip
    live = _changed(plain, turn_s=None, voice_to_voice_s=0.7)
    bare = Utterance(sound=spoken)
    one = Sample(id="question", utterances=(said,))
    two = Sample(id="dialogue", utterances=(said, said))
    return {
        "an utterance that is answered": Run(
            sample=one, turns=(plain,), cell="1", pipeline="a", kinds=("stt", "llm", "tts")
        ),
        "the same, live": Run(live=True, sample=one, turns=(live,), cell="2", pipeline="a"),
        "a reply that came early": Run(live=True, sample=one, turns=(_changed(live, voice_to_voice_s=-0.2),)),
        "an utterance without references": Run(
            sample=Sample(id="bare", utterances=(bare,)), turns=(_changed(plain, utterance=bare),)
        ),
        "an utterance that nobody answered": Run(
            live=True,
            sample=one,
            turns=(_changed(live, reply_text="", reply_sound=None, voice_to_voice_s=None, outcome="unanswered"),),
        ),
        "nothing was understood": Run(
            sample=one,
            turns=(_changed(plain, transcript="", reply_text="", reply_sound=None, outcome="unanswered", stages=()),),
        ),
        "a dialogue, its first reply interrupted": Run(
            live=True,
            sample=two,
            turns=(
                _changed(live, interrupted=True, outcome="interrupted", overlap_s=0.4, yield_s=0.3),
                _changed(live, index=1, turn_id="t2"),
            ),
        ),
        "a turn that failed": Run(
            sample=one,
            turns=(_changed(plain, status="failed", outcome="failed", reason="a stage failed", reply_sound=None),),
        ),
        "a run that says what it costs": Run(
            sample=one,
            turns=(_changed(plain, stages=tuple(_priced(stage, 0.001) for stage in plain.stages)),),
        ),
        "a run without a turn": Run(sample=one),
    }


def _stages() -> tuple[RunStage, ...]:
    return (
        RunStage(kind="stt", component="made-up", model_s=0.2, ttfb_s=0.2, queue_s=0.0, started_s=0.0, ended_s=0.2,
                 usage=UsageRecord(requests=1, seconds_in=1.5)),
        RunStage(kind="llm", component="made-up", model_s=0.3, ttfb_s=0.1, queue_s=0.0, started_s=0.2, ended_s=0.5,
                 usage=UsageRecord(requests=1, input_tokens=20, output_tokens=4)),
        RunStage(kind="tts", component="made-up", model_s=0.4, ttfb_s=0.1, queue_s=0.0, started_s=0.5, ended_s=0.9,
                 usage=UsageRecord(requests=1, characters=11, seconds_out=2.0)),
    )  # fmt: skip


def _priced(stage: RunStage, cost: float) -> RunStage:
    assert stage.usage is not None
    return msgspec.structs.replace(stage, usage=msgspec.structs.replace(stage.usage, cost=cost, currency="USD"))


def _changed(turn: RunTurn, **fields: object) -> RunTurn:
    return msgspec.structs.replace(turn, **fields)


def _tone(path: Path, seconds: float) -> Sound:
    """A second file of the same name is the same."""
    if not path.exists():
        at = np.arange(round(seconds * RATE)) / RATE
        Audio(0.25 * np.sin(2 * math.pi * 220 * at) * np.abs(np.sin(2 * math.pi * 3 * at)), RATE).save(path)
    return Sound(path=str(path))
