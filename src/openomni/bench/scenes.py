"""What a synthetic caller does in one call: asks, listens, breaks in, says mm-hm, pauses in mid-sentence."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .. import clock
from ..client.caller.caller import SyntheticCaller
from ..client.caller.ear import HeardReply
from ..client.caller.room import SaidUtterance
from ..client.caller.utterance import SpokenUtterance
from .corpus import Corpus

ANSWER_S = 12.0
"""A question that nothing answers within this time is given up."""
LISTENS_S = 2.5
"""How much of a long reply the caller hears before breaking in with the next question."""
BREAKS_IN_S = (0.8, 1.6)
"""How far into a reply it is interrupted."""
MURMURS_S = (0.5, 1.0)
"""How far into a reply a backchannel comes."""
AFTER_MURMUR_S = 2.2
"""How long the caller listens on after a backchannel, to hear whether the reply goes on."""
THINKS_S = (0.4, 0.8)
"""Between the end of a reply and the next question."""

After = Literal["listen", "interrupt", "backchannel"]


@dataclass(frozen=True, slots=True)
class Step:
    """One utterance, and what its caller does with the reply."""

    what: Literal["question", "paused"]
    utterance: SpokenUtterance
    after: After
    wait: float = 0.0
    """Seconds into the reply to what comes then."""
    backchannel: SpokenUtterance | None = None


@dataclass(slots=True)
class Scene:
    """A step as it went: what was said, what had been sounding, and the murmur in the reply if there was one."""

    step: Step
    said: SaidUtterance
    sounding: HeardReply | None
    """The reply that was being heard when the first word was spoken: this utterance interrupted it."""
    murmur: SaidUtterance | None = None
    murmured_in: HeardReply | None = None
    watched_until: float = 0.0
    """The caller said nothing more until then."""


@dataclass(slots=True)
class PlayedCall:
    """A call that is over."""

    caller: SyntheticCaller
    scenes: list[Scene] = field(default_factory=list)


def script(corpus: Corpus, seed: int) -> list[Step]:
    """Questions and, spread among them, utterances with pauses; each second question gets a backchannel into its
    reply, and the reply to an utterance with pauses is interrupted by what comes next."""
    chance = random.Random(seed)
    steps: list[Step] = []
    paused = list(corpus.paused)
    murmurs = list(corpus.backchannels)
    for number, question in enumerate(corpus.questions):
        murmur = None
        if murmurs and number % 2:
            murmur = murmurs[number // 2 % len(murmurs)]
        wait = chance.uniform(*MURMURS_S) if murmur else 0.0
        steps.append(Step("question", question, "backchannel" if murmur else "listen", wait, murmur))
        while paused and len(paused) > len(corpus.paused) * (1 - (number + 1) / len(corpus.questions)):
            steps.append(Step("paused", paused.pop(0), "interrupt", chance.uniform(*BREAKS_IN_S)))
    return steps


def plain(questions: Sequence[SpokenUtterance]) -> list[Step]:
    """Questions only, each reply listened to."""
    return [Step("question", question, "listen") for question in questions]


async def play(caller: SyntheticCaller, steps: Sequence[Step], seed: int, done: Callable[[Scene], None]) -> list[Scene]:
    """In an open call. `done` is told of each step that is over."""
    chance = random.Random(seed)
    scenes: list[Scene] = []
    for step in steps:
        scene = await _play(caller, step)
        scenes.append(scene)
        if not caller.being_heard:
            await asyncio.sleep(chance.uniform(*THINKS_S))
        scene.watched_until = clock.now()
        done(scene)
    return scenes


async def _play(caller: SyntheticCaller, step: Step) -> Scene:
    said = caller.begin(step.utterance)
    await _until(said.start)
    sounding = next((reply for reply in caller.being_heard if reply.sounding(said.start)), None)
    scene = Scene(step, said, sounding)
    await _until(said.end)
    if not await caller.until(lambda: caller.answering(said) is not None, ANSWER_S):
        return scene
    reply = caller.answering(said)
    assert reply is not None
    assert reply.audible is not None
    if step.after == "listen":
        await caller.until(lambda: not caller.being_heard, LISTENS_S)
        return scene
    await caller.until(lambda: reply.over is not None, reply.audible + step.wait - clock.now())
    if step.backchannel is not None and reply.over is None:
        scene.murmur, scene.murmured_in = caller.begin(step.backchannel), reply
        await _until(scene.murmur.end)
        await caller.until(lambda: not caller.being_heard, AFTER_MURMUR_S)
    return scene


async def _until(stamp: float) -> None:
    await asyncio.sleep(max(stamp - clock.now(), 0.0))
