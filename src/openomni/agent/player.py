"""Who plays the user in a call where that are not the sample's recordings: a component says what comes next, and a
voice says what it wrote."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Self

from .. import models
from ..bounds import MAX_TEXT
from ..client.caller.call import CallPlan, recorded
from ..client.caller.caller import SyntheticCaller
from ..client.caller.dialogue import Line, PlayedLine, answer_to, reply_over
from ..client.caller.utterance import SpokenUtterance
from ..components import registry
from ..components.conversation import Conversation, Exchange, ScriptLine
from ..components.fence import fenced, words
from ..components.stage import LocalStage
from ..components.vad import offline
from ..components.worker import CallThread
from ..datasets import AfterReply
from ..errors import OpenOmniError, WrongUsage
from ..events import AXIS_RATE, Sound, Text
from ..media import Audio
from ..records import PlayerChoice
from .builds import describe

TIMEOUT_S = 60.0
"""How long a player may think before it counts as hung."""
MOST_LINES = 200
"""Utterances of one call, after which a player counts as one that never ends."""
LONGEST_S = 120.0
"""Of one utterance."""
EXPECTED = "expected Audio, str, (Audio, str), or None when it has said all"


class PlayerFault(WrongUsage):
    """A player, or its voice, did what it may not; it would again."""


class PlayerAtWork:
    """What is said in one call. `builds`: who plays, as it was built, and its voice once that has spoken."""

    def __init__(self, choice: PlayerChoice, plan: CallPlan, script: Sequence[Line]) -> None:
        self._choice, self._plan, self._lines = choice, plan, script
        told = zip(plan.lines, script, strict=True)
        self._script = tuple(
            ScriptLine(line.utterance.audio, each.text, each.answer, each.fields) for each, line in told
        )
        self._label = f"player:{choice.name}"
        self._thread = CallThread(self._label)
        self._player: Any = None
        self._listens = True
        self._voice: LocalStage | None = None
        self._ahead: list[Line | None] = []
        """What is known to be said, before any of it is."""
        self.builds: list[dict[str, Any]] = []

    @classmethod
    @asynccontextmanager
    async def ready(cls, choice: PlayerChoice, plan: CallPlan) -> AsyncIterator[Self]:
        """With its first utterance in hand; with all of them, where it does not listen. Raises OpenOmniError where it
        can't be built, and PlayerFault."""
        made = cls(choice, plan, await asyncio.to_thread(recorded, plan))
        try:
            await made._warm_up()
            yield made
        finally:
            await made._close()

    async def next(self, caller: SyntheticCaller, played: Sequence[PlayedLine]) -> Line | None:
        """Waits, where the player listens, until it has heard the reply."""
        if len(played) < len(self._ahead):
            return self._ahead[len(played)]
        await reply_over(caller, played[-1].said, self._plan.patience_s)
        return await self._asked([_exchange(caller, each) for each in played])

    # ---- the player ----

    async def _warm_up(self) -> None:
        self._player, build = await self._thread.submit(_built, "player", self._choice.name, self._choice.parameters)
        self.builds.append(build)
        self._listens = bool(getattr(self._player, "listens", True))
        if hasattr(self._player, "warm_up"):
            await self._called(self._player.warm_up)
        said: list[Exchange] = []
        while True:
            self._ahead.append(line := await self._asked(said))
            if line is None or self._listens:
                break
            said.append(Exchange(line.utterance.text or ""))
        if self._ahead[0] is None:
            raise PlayerFault(f"{self._label} says nothing to sample {self._plan.sample!r}; give an utterance first")

    async def _asked(self, so_far: Sequence[Exchange]) -> Line | None:
        if len(so_far) >= MOST_LINES:
            raise PlayerFault(f"{self._label} said {MOST_LINES} utterances and goes on; return None when all is said")
        conversation = Conversation(self._plan.sample, self._script, tuple(so_far), self._plan.seed)
        said = await self._called(self._player.say, conversation)
        if said is None:
            return None
        number = len(so_far)
        audio, text = await self._heard(said)
        written = self._lines[number] if number < len(self._lines) else None
        # A player that listens has waited for the reply; else it is said when the sample has it.
        when = AfterReply() if self._listens or written is None else written.when
        if written is not None and audio is self._script[number].audio:
            return Line(written.utterance, when)
        return Line(await asyncio.to_thread(_utterance, self._label, audio, text or ""), when)

    async def _called(self, method: Any, *arguments: Any) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if inspect.iscoroutinefunction(method):
                    with fenced():
                        return await method(*arguments)
                return await self._thread.submit(method, *arguments)
        except TimeoutError:
            raise PlayerFault(f"{self._label} hung: it said nothing for {TIMEOUT_S:g} s") from None
        except OpenOmniError:
            raise
        except Exception as error:
            raise PlayerFault(f"{self._label} raised {words(error)}") from error

    # ---- its voice ----

    async def _heard(self, said: Any) -> tuple[Audio, str | None]:
        match said:
            case Audio():
                return said, None
            case (Audio() as audio, str(text)):
                return audio, _bounded(self._label, text)
            case str(text):
                return await self._spoken(_bounded(self._label, text)), text
        raise PlayerFault(f"{self._label} gave {type(said).__name__}; {EXPECTED}")

    async def _spoken(self, text: str) -> Audio:
        if self._voice is None:
            choice = self._choice
            built, build = await asyncio.to_thread(_built, "tts", choice.voice, choice.voice_parameters)
            self._voice = LocalStage("tts", built)
            await self._voice.warm_up()
            self.builds.append(build)
        async with aclosing(self._voice.run(_once(Text(text)))) as outputs:
            sounds = [value.audio async for value in outputs if isinstance(value, Sound)]
        if not sounds:
            raise PlayerFault(f"tts:{self._choice.voice} gave no sound for {text[:80]!r}, which {self._label} says")
        return Audio.join(sounds)

    async def _close(self) -> None:
        if self._voice is not None:
            await self._voice.close()
        self._thread.stop()


def _built(kind: str, name: str, parameters: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """An instance, and what it is. It reads the files that were loaded: call it in a thread."""
    info = registry.find(kind, name)
    with models.noting() as loaded:
        built = registry.construct(info, f"{kind}:{name}", parameters)
    return built, describe(info, built, parameters, loaded)


async def _once(value: Text) -> AsyncIterator[Text]:
    yield value


def _bounded(label: str, text: str) -> str:
    if not text.strip() or len(text) > MAX_TEXT:
        raise PlayerFault(f"{label} gave text of {len(text)} characters; give 1 to {MAX_TEXT}, or None to end")
    return text


def _utterance(label: str, audio: Audio, text: str) -> SpokenUtterance:
    if audio.duration > LONGEST_S:
        raise PlayerFault(f"{label} says {audio.duration:.0f} s at once; {LONGEST_S:g} s are the most")
    audio = audio.resample(AXIS_RATE)
    bounds = offline.bounds(audio)
    if bounds is None or bounds[0] >= bounds[1]:
        raise PlayerFault(f"no speech was found in what {label} says; is it silent?")
    return SpokenUtterance(label, label, audio, *bounds, text=text)


def _exchange(caller: SyntheticCaller, played: PlayedLine) -> Exchange:
    said = played.said
    reply = answer_to(caller, said)
    if reply is None:
        return Exchange(said.utterance.text or "")
    wait = None if reply.audible is None else reply.audible - said.end
    return Exchange(said.utterance.text or "", reply.text, True, reply.cut, wait)
