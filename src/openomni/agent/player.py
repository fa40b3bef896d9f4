"""Who plays the user in a call where that are not the sample's recordings: a component says what comes next, and a
voice says what it wrote.

Whatever a player does runs in a thread of its own: the loop here is the microphone's.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Self

from .. import models
from ..bounds import stored
from ..client.caller.call import CallPlan, recorded
from ..client.caller.caller import SyntheticCaller
from ..client.caller.dialogue import Line, PlayedLine, answer_to, reply_over
from ..client.caller.utterance import SpokenUtterance
from ..components import registry
from ..components.conversation import MOST_CHARACTERS, MOST_SAID, Conversation, Exchange, ScriptLine
from ..components.fence import words
from ..components.stage import LocalStage
from ..components.vad import offline
from ..components.worker import CallThread
from ..datasets import AfterReply
from ..errors import OpenOmniError, WrongUsage
from ..events import AXIS_RATE, Sound, Text
from ..media import Audio
from ..records import PlayerChoice
from .builds import describe

READY_S = 600.0
"""How long a player, and its voice, may take to load: each call is a process of its own, and loads them anew."""
TIMEOUT_S = 60.0
"""How long a player may think before it counts as hung."""
CLOSES_S = 5.0
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
        self._said: list[str] = []
        """The words of each utterance, as far as somebody wrote them."""
        self._so_far: list[Exchange] = []
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
        # Told as it is now: of what is said later there are other replies.
        self._so_far.append(_exchange(caller, played[-1], self._said[len(played) - 1]))
        return await self._asked()

    # ---- the player ----

    async def _warm_up(self) -> None:
        choice = self._choice
        self._player, build = await self._called(READY_S, _built, "player", choice.name, choice.parameters)
        self.builds.append(build)
        self._listens = await self._called(TIMEOUT_S, lambda: bool(getattr(self._player, "listens", True)))
        if hasattr(self._player, "warm_up"):
            await self._called(READY_S, self._player.warm_up)
        while True:
            self._ahead.append(line := await self._asked())
            if line is None or self._listens:
                break
            self._so_far.append(Exchange(self._said[-1]))
        if self._ahead[0] is None:
            raise PlayerFault(f"{self._label} says nothing to sample {self._plan.sample!r}; give an utterance first")

    async def _asked(self) -> Line | None:
        number = len(self._so_far)
        if number >= MOST_SAID:
            raise PlayerFault(f"{self._label} said {MOST_SAID} utterances and goes on; return None when all is said")
        conversation = Conversation(self._plan.sample, self._script, tuple(self._so_far), self._plan.seed)
        said = await self._called(TIMEOUT_S, self._player.say, conversation)
        if said is None:
            return None
        utterance = await self._utterance(number, *await self._heard(said))
        # A player that listens has waited for the reply; else it is said when the sample has it.
        written = not self._listens and number < len(self._lines)
        return Line(utterance, self._lines[number].when if written else AfterReply())

    async def _utterance(self, number: int, audio: Audio, text: str | None) -> SpokenUtterance:
        at = next((at for at, line in enumerate(self._script) if line.audio is audio), None)
        if at is None:
            self._said.append(text or "")
            return await self._measured(audio, text or "")
        # A recording of the sample: what it says is known, and in its own place it is that very utterance.
        known = self._script[at].text
        self._said.append(text or known or "")
        recording = self._lines[at].utterance
        return recording if at == number and text is None else replace(recording, text=self._said[-1])

    async def _called(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
        """In its thread, be it a coroutine. Raises PlayerFault, and what is OpenOmniError as it is."""
        try:
            async with asyncio.timeout(seconds):
                return await self._thread.submit(_result, function, *arguments)
        except TimeoutError:
            raise PlayerFault(f"{self._label} hung: nothing came of it for {seconds:g} s") from None
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
                text = _bounded(self._label, text)
                return await self._spoken(text), text
        raise PlayerFault(f"{self._label} gave {type(said).__name__}; {EXPECTED}")

    async def _spoken(self, text: str) -> Audio:
        choice = self._choice
        if self._voice is None:
            built, build = await self._called(READY_S, _built, "tts", choice.voice, choice.voice_parameters)
            voice = LocalStage("tts", built)
            try:
                async with asyncio.timeout(READY_S):
                    await voice.warm_up()
            except TimeoutError:
                raise PlayerFault(f"tts:{choice.voice} hung: it was not ready after {READY_S:g} s") from None
            self._voice = voice
            self.builds.append(build)
        sounds, seconds = list[Audio](), 0.0
        async with aclosing(self._voice.run(_once(Text(text)))) as outputs:
            async for value in outputs:
                if isinstance(value, Sound):
                    sounds.append(value.audio)
                    seconds += value.audio.duration
                if seconds > LONGEST_S:
                    raise PlayerFault(f"{self._label} says more than {LONGEST_S:g} s at once: {text[:80]!r}…")
        if not sounds:
            raise PlayerFault(f"tts:{choice.voice} gave no sound for {text[:80]!r}, which {self._label} says")
        return Audio.join(sounds)

    async def _measured(self, audio: Audio, text: str) -> SpokenUtterance:
        """With where its speech lies."""
        if audio.duration > LONGEST_S:
            raise PlayerFault(f"{self._label} says {audio.duration:.0f} s at once; {LONGEST_S:g} s are the most")
        audio = await asyncio.to_thread(audio.resample, AXIS_RATE)
        bounds = await asyncio.to_thread(offline.bounds, audio)
        if bounds is None or bounds[0] >= bounds[1]:
            raise PlayerFault(f"no speech was found in what {self._label} says; is it silent?")
        return SpokenUtterance(self._label, self._label, audio, *bounds, text=text)

    async def _close(self) -> None:
        if self._voice is not None:
            with contextlib.suppress(OpenOmniError, TimeoutError):
                async with asyncio.timeout(CLOSES_S):
                    await self._voice.close()
        self._thread.stop()


def _result(function: Callable[..., Any], *arguments: Any) -> Any:
    made = function(*arguments)
    return asyncio.run(_awaited(made)) if inspect.isawaitable(made) else made


async def _awaited(made: Awaitable[Any]) -> Any:
    return await made


def _built(kind: str, name: str, parameters: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """An instance, and what it is. It reads the files that were loaded: call it in a thread."""
    info = registry.find(kind, name)
    with models.noting() as loaded:
        built = registry.construct(info, f"{kind}:{name}", parameters)
    return built, describe(info, built, parameters, loaded)


async def _once(value: Text) -> AsyncIterator[Text]:
    yield value


def _bounded(label: str, text: str) -> str:
    if not text.strip() or len(text) > MOST_CHARACTERS:
        raise PlayerFault(f"{label} gave text of {len(text)} characters; give 1 to {MOST_CHARACTERS:,}, or None to end")
    return stored(text)


def _exchange(caller: SyntheticCaller, played: PlayedLine, words: str) -> Exchange:
    reply = answer_to(caller, played.said)
    if reply is None:
        return Exchange(words)
    wait = None if reply.audible is None else reply.audible - played.said.end
    return Exchange(words, reply.text, True, reply.cut, wait)
