"""An agent's part of a queued turn on a virtual clock, in a process of its own: the clock is the whole process's."""

from __future__ import annotations

from typing import Any

import msgspec

import virtual_time
from openomni import records
from openomni.bus.envelope import Work
from openomni.bus.work import TurnWork
from openomni.media import Audio
from openomni.pipeline.queued import run_queued
from openomni.pipeline.spec import parse
from openomni.pipeline.utterance import Utterance
from pipeline.scripted import ScriptedRunner
from pipeline.test_session import KeptReply


def turn(work: bytes, spec: dict[str, Any], seconds: float) -> bytes:
    """The record of a turn whose first stage takes so long, and the others no time at all."""
    envelope = msgspec.json.decode(work, type=Work)
    wanted = TurnWork.of(envelope)
    runner = ScriptedRunner(stt_delay=seconds, llm_delay=0.0, tts_delay=0.0)
    said = Utterance(audio=Audio.silence(0.5, 16_000))
    made = virtual_time.run(run_queued(envelope, wanted, parse(spec, wanted.pipeline), said, runner, KeptReply))
    made.reply_audio = ""  # nobody brings its sound, for which scoring would wait
    return records.encode(made)
