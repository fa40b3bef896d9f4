"""Scripted stages with timings, so that a turn's order and account can be foretold to the millisecond."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from openomni import clock
from openomni.events import Message, Sound, Text, Transcript, Value
from openomni.media import Audio
from openomni.pipeline.spec import StageSpec
from openomni.pipeline.task import TaskTrace


def tone(seconds: float, rate: int = 16_000) -> Audio:
    return Audio(0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate), rate)


@dataclass
class ScriptedRunner:
    """stt: `delay`; llm: a word each `delay`; tts: a clause's sound after `delay`. `fail` names a kind that raises."""

    stt_delay: float = 0.1
    llm_delay: float = 0.05
    tts_delay: float = 0.05
    transcript: str = "what is the time"
    reply: str = "It is noon. Have a good day."
    fail: str = ""
    hang: str = ""
    seen: list[tuple[str, list[Value]]] = field(default_factory=list)
    open_stages: int = 0
    prepared: list[list[Message]] = field(default_factory=list)
    options: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """What was asked of each run, by its kind."""
    loaded: list[str] = field(default_factory=list)

    async def ending(self, stage: StageSpec, messages: Sequence[Message]) -> float | None:
        return None

    async def prepare(self, stage: StageSpec, messages: Sequence[Message]) -> None:
        self.prepared.append(list(messages))

    async def load_voice(self, stage: StageSpec, voice: str) -> None:
        self.loaded.append(voice)

    async def run(self, stage: StageSpec, task: TaskTrace, inputs: AsyncIterator[Value]) -> AsyncIterator[Value]:
        attempt = task.begin("scripted")
        attempt.claimed = attempt.model_started = clock.now()
        attempt.build, inputs = f"build of {stage.kind}", attempt.meter.counted(inputs)
        taken: list[Value] = []
        self.seen.append((stage.kind, taken))
        self.options.append((stage.kind, task.asked))
        self.open_stages += 1
        try:
            if stage.kind == self.fail:
                raise RuntimeError("scripted to fail")
            if stage.kind == self.hang:
                await asyncio.Event().wait()
            async for value in self._give(stage.kind, inputs, taken):
                yield value
            attempt.ended = clock.now()
            attempt.finish("completed")
        finally:
            self.open_stages -= 1

    async def _give(self, kind: str, inputs: AsyncIterator[Value], taken: list[Value]) -> AsyncIterator[Value]:
        if kind == "tts":
            async for value in inputs:
                taken.append(value)
                await asyncio.sleep(self.tts_delay)
                yield Sound(tone(0.5))
            return
        taken += [value async for value in inputs]
        if kind == "stt":
            await asyncio.sleep(self.stt_delay)
            yield Transcript(self.transcript)
        if kind == "llm":
            for word in self.reply.split(" "):
                await asyncio.sleep(self.llm_delay)
                yield Text(word + " ")
