"""Holds a component, ours or a stranger's, to what its kind promises.

In a package's own tests::

    def test_conforms():
        conformance("stt", lambda: MyASR("tiny"))
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from ..events import AXIS_RATE, NOTHING_KNOWN, Endings, Message, Picture, Prompt, Sound, Text, Transcript, Usage, Value
from ..media import Audio, Frame, Samples
from . import judge, registry
from .conversation import MOST_SAID, Conversation, Exchange, ScriptLine
from .fence import words
from .kinds import kind_of
from .registry import ComponentInfo
from .stage import TIMEOUT, LocalStage, StageError
from .worker import CallThread

UNDER_WAY = 0.05
"""Seconds after which a call is cancelled that may have given nothing yet."""
RETURN_WITHIN = 30.0
"""Seconds after a cancel within which a call must have returned, so that its slot is free again."""
THINKS_S = 60.0
"""How long a player may think about what to say."""
UNKNOWN = "no-such-name"
"""A voice and a language that nobody has."""

ESSENTIAL = ("warms up", "answers", "gives 0…1", "says something first")
"""Promises without which the later ones can't be tried."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise; `fault` says how it is broken and is empty when it is kept."""

    promise: str
    fault: str = ""


def check(
    kind: str, component: str | type, parameters: Mapping[str, Any] | None = None, timeout: float = TIMEOUT
) -> list[str]:
    """The faults of a component, given by name, import path or class; empty when it conforms.

    `timeout`: seconds without any output after which it counts as hung. Raises `OpenOmniError` when it can't be found
    or built.
    """
    return _faults(checks(kind, component, parameters, timeout))


def checks(
    kind: str,
    component: str | type,
    parameters: Mapping[str, Any] | None = None,
    timeout: float = TIMEOUT,
    report: Callable[[Check], None] = lambda check: None,
) -> list[Check]:
    """The checks of a component in order, up to the first without which the others say nothing.

    `report` is given each as soon as it is done.
    """
    info = registry.describe(component) if isinstance(component, type) else registry.find(kind, component)
    built = registry.construct(info, f"{kind}:{info.name}", parameters or {})
    return _run(kind, _of_declaration(info), built, timeout, report)


def conformance(kind: str, factory: Callable[[], Any], timeout: float = TIMEOUT) -> None:
    """Raises AssertionError with a line for each fault of what `factory` makes."""
    built = factory()
    info = registry.describe(type(built)) if registry.declaration(type(built)) else None
    faults = _faults(_run(kind, _of_declaration(info) if info else [], built, timeout))
    if faults:
        raise AssertionError("\n".join([f"{type(built).__name__} is no good {kind} component", *faults]))


def _faults(done: Sequence[Check]) -> list[str]:
    return [f"{each.promise}: {each.fault}" for each in done if each.fault]


def _of_declaration(info: ComponentInfo) -> list[Check]:
    bare = [name for name, rule in info.schema["properties"].items() if not set(rule) - {"default", "description"}]
    return [
        Check("says what it is", "" if info.description else "its class has no docstring; write one line"),
        Check("says its parameters", f"no type that JSON knows at {', '.join(bare)}; annotate it" if bare else ""),
    ]


def _run(
    kind: str,
    done: list[Check],
    built: Any,
    timeout: float,
    report: Callable[[Check], None] = lambda check: None,
) -> list[Check]:
    for each in done:
        report(each)

    async def trial() -> None:
        others = {"vad": _Detector, "turn": _Judge, "player": _Player}.get(kind_of(kind).name)
        promises = others(built) if others else _Stage(kind, built, timeout)
        for promise, kept in promises.listed():
            try:
                each = Check(promise, await kept())
            except StageError as error:
                each = Check(promise, error.reason)
            done.append(each)
            report(each)
            if each.fault and promise in ESSENTIAL:
                return

    asyncio.run(trial())
    return done


Promise = tuple[str, Callable[[], Awaitable[str]]]


class _Stage:
    """The promises of a component that stands in a pipeline. Each returns its fault, or raises `StageError`."""

    def __init__(self, kind: str, built: Any, timeout: float) -> None:
        self.kind = kind
        self.timeout = timeout
        self.stage = LocalStage(kind, built)

    def listed(self) -> list[Promise]:
        listed: list[Promise] = [
            ("warms up", self.warms_up),
            ("answers", self.answers),
            ("answers again", self.answers),
            *((f"takes {name}", lambda given=given: self.takes(given)) for name, given in _edges(self.kind).items()),
            *((f"answers when it is asked for an unknown {name}", self.answers_unknown) for name in self.stage.options),
            ("stops when it is cancelled", self.stops),
            ("answers after a cancel", self.answers),
        ]
        if self.stage.slots > 1:
            listed.append((f"answers {self.stage.slots} calls at a time", self.answers_together))
        return [*listed, ("closes", self.closes)]

    async def warms_up(self) -> str:
        await self.stage.warm_up()
        return ""

    async def answers(self) -> str:
        return _judge(self.kind, await self._outputs(_typical(self.kind)))

    async def answers_unknown(self) -> str:
        """With what it does not have it goes on as the pipeline has it."""
        asked = dict.fromkeys(self.stage.options, UNKNOWN)
        return _judge(self.kind, await self._outputs(_typical(self.kind), asked))

    async def takes(self, given: Sequence[Value]) -> str:
        return _judge_sound([value for value in await self._outputs(given) if isinstance(value, Sound)])

    async def answers_together(self) -> str:
        answers = await asyncio.gather(*(self.answers() for _ in range(self.stage.slots)), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return next((fault for fault in answers if isinstance(fault, str) and fault), "")

    async def stops(self) -> str:
        """Cancels a call that is under way: once its first output came, or before it."""
        async with aclosing(self.stage.run(_given(_typical(self.kind)), timeout=self.timeout)) as outputs:
            await anext(outputs, None)
        await self._free()
        reading = asyncio.create_task(self._outputs(_typical(self.kind)))
        await asyncio.wait({reading}, timeout=UNDER_WAY)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        await self._free()
        return ""

    async def closes(self) -> str:
        await self.stage.close()
        return ""

    async def _outputs(self, values: Sequence[Value], asked: Mapping[str, str] | None = None) -> list[Value]:
        async with aclosing(self.stage.run(_given(values), timeout=self.timeout, asked=asked)) as outputs:
            return [value async for value in outputs if not isinstance(value, Usage)]

    async def _free(self) -> None:
        try:
            async with asyncio.timeout(RETURN_WITHIN):
                await self.stage.all_free()
        except TimeoutError:
            reason = f"its call goes on {RETURN_WITHIN:g} s after a cancel; yield in between, or add cancel()"
            raise StageError(self.stage.label, reason) from None


class _Serving:
    """What a component promises that stands in no pipeline."""

    def __init__(self, built: Any) -> None:
        self.built = built

    def listed(self) -> list[Promise]:
        return [("warms up", self.warms_up)]

    async def warms_up(self) -> str:
        if hasattr(self.built, "warm_up"):
            result = self.built.warm_up()
            if inspect.isawaitable(result):
                await result
        return ""


class _Judge(_Serving):
    """The promises of what says whether the person has finished."""

    def listed(self) -> list[Promise]:
        return [*super().listed(), ("gives 0…1", self.tells), ("takes any length", self.takes_any),
                ("takes what others know of the end, or don't", self.takes_endings)]  # fmt: skip

    async def tells(self) -> str:
        return await self._asked(_voice(2.0), "what is the time?")

    async def takes_any(self) -> str:
        for sound in (_voice(0.0), _voice(0.1), _voice(40.0)):
            for text in ("", "and"):
                if fault := await self._asked(sound, text):
                    return fault
        return ""

    async def takes_endings(self) -> str:
        for likely in (0.0, 0.5, 1.0):
            for endings in (Endings(likely), Endings(reader=likely), Endings(likely, likely)):
                if fault := await self._asked(_voice(2.0), "what is the time?", endings):
                    return fault
        return ""

    async def _asked(self, audio: Audio, text: str, endings: Endings = NOTHING_KNOWN) -> str:
        try:
            return judge.fault(await judge.ask(self.built, audio, text, endings))
        except Exception as error:
            return " ".join(f"raised {type(error).__name__}: {error}".split())


class _Detector(_Serving):
    """The promises of a voice activity detector."""

    def listed(self) -> list[Promise]:
        return [*super().listed(), ("gives 0…1", self.tells), ("keeps streams apart", self.apart)]

    async def tells(self) -> str:
        detector = self.built.open()
        window = getattr(detector, "window", None)
        if not isinstance(window, int) or window <= 0:
            return "its detector has no `window`, the number of samples that it is called with"
        for samples in (np.zeros(window), _voice(window / AXIS_RATE).samples):
            for _ in range(3):
                probability = detector(samples.astype(np.float32))
                if not isinstance(probability, float | np.floating) or not 0 <= probability <= 1:
                    return f"gave {probability!r}; expected a number in 0…1"
        return ""

    async def apart(self) -> str:
        first, second = self.built.open(), self.built.open()
        voice = _voice(1.0).samples
        alone = [float(first(voice[at : at + first.window])) for at in range(0, 4096, first.window)]
        mixed = []
        for at in range(0, 4096, second.window):
            mixed.append(float(second(voice[at : at + second.window])))
            first(np.zeros(first.window, np.float32))
        return "" if np.allclose(alone, mixed, atol=1e-4) else "two detectors share state; keep it in what open() gives"


class _Player(_Serving):
    """The promises of who plays the user of a sample."""

    def listed(self) -> list[Promise]:
        return [*super().listed(), ("says something first", self.begins), ("comes to an end", self.ends)]

    async def begins(self) -> str:
        said = await self._said(_conversation())
        return "says nothing to a sample of two utterances" if said is None else _judge_said(said)

    async def ends(self) -> str:
        conversation = _conversation()
        for _ in range(MOST_SAID):
            if (said := await self._said(conversation)) is None:
                return ""
            if fault := _judge_said(said):
                return fault
            more = Exchange("What is the time?")
            if getattr(self.built, "listens", True):
                more = replace(more, reply="It is ten to nine.", answered=True, voice_to_voice_s=0.6)
            conversation = replace(conversation, so_far=(*conversation.so_far, more))
        return f"said {MOST_SAID} utterances and goes on; return None when all is said"

    async def _said(self, conversation: Conversation) -> Any:
        def say() -> Any:
            said = self.built.say(conversation)
            return asyncio.run(_awaited(said)) if inspect.isawaitable(said) else said

        try:
            async with asyncio.timeout(THINKS_S):
                return await CallThread("player").submit(say)
        except TimeoutError:
            raise StageError("player", f"hung: it said nothing for {THINKS_S:g} s") from None
        except Exception as error:
            raise StageError("player", f"raised {words(error)}") from error


async def _awaited(said: Awaitable[Any]) -> Any:
    return await said


def _judge_said(said: Any) -> str:
    match said:
        case str(text) | (Audio(), str(text)) if text.strip():
            return ""
        case Audio() as audio if audio.duration:
            return ""
    return f"gave {said!r}; expected words, Audio, (Audio, its words), or None when all is said"[:200]


def _conversation() -> Conversation:
    said = ("What is the time?", "It is ten to nine."), ("Thank you.", None)
    return Conversation("a-sample", tuple(ScriptLine(_voice(1.0), text, answer) for text, answer in said))


# ---- what it is given ----------------------------------------------------------------------------------------


def _voice(seconds: float) -> Audio:
    """A buzz in syllables: no speech, but as loud and as changing as some. Always the same, whatever a component does
    to what it is given."""
    return Audio(_buzz(seconds).copy(), AXIS_RATE)


@cache
def _buzz(seconds: float) -> Samples:
    at = np.arange(round(seconds * AXIS_RATE)) / AXIS_RATE
    noise = np.random.default_rng(0).normal(0, 0.01, len(at))
    buzz = sum(np.sin(2 * np.pi * 120 * n * at) / n for n in range(1, 12))
    return np.clip(0.2 * buzz * np.abs(np.sin(2 * np.pi * 2 * at)) + noise, -1, 1)


def _pieces(audio: Audio) -> list[Value]:
    step = AXIS_RATE // 10
    samples = audio.samples
    return [Sound(Audio(samples[at : at + step], audio.rate), at / audio.rate) for at in range(0, len(samples), step)]


def _asked(text: str) -> Prompt:
    return Prompt((Message("system", "Answer in one short sentence."), Message("user", text)))


def _typical(kind: str) -> list[Value]:
    picture = Picture(Frame(np.full((48, 64, 3), 127, np.uint8)))
    said = "What is the capital of France?"
    given: dict[str, list[Value]] = {
        "stt": _pieces(_voice(2.0)),
        "speaker": _pieces(_voice(2.0)),
        "emotion": [*_pieces(_voice(2.0)), Transcript("I am so glad."), picture],
        "retrieval": [Transcript(said)],
        "llm": [_asked(said)],
        "tts": [Text("Hello, it is nice to meet you."), Text("How are you today?")],
        "end_to_end": [_asked(said), *_pieces(_voice(2.0)), picture],
    }
    return given[kind]


def _edges(kind: str) -> dict[str, list[Value]]:
    silence, blink = _pieces(Audio.silence(1.0, AXIS_RATE)), _pieces(_voice(0.05))
    sounds = {"no sound at all": [], "50 ms of sound": blink, "a second of silence": silence}
    others: dict[str, dict[str, list[Value]]] = {
        "retrieval": {"an empty question": [Transcript("")]},
        "llm": {"a question of one letter": [_asked("?")], "no instructions": [Prompt((Message("user", "Hello"),))]},
        "tts": {"no text at all": [], "a clause of one letter": [Text("A")], "a clause without letters": [Text("…")]},
    }
    return others.get(kind, sounds)


async def _given(values: Sequence[Value]) -> AsyncIterator[Value]:
    for value in values:
        yield value
        await asyncio.sleep(0)


# ---- what it gave --------------------------------------------------------------------------------------------


def _judge(kind: str, outputs: list[Value]) -> str:
    """What is wrong with an answer to typical input, whose types the stage has seen to."""
    if not outputs:
        return f"gave nothing; write {kind_of(kind).signature}"
    if kind == "stt":
        finals = [value for value in outputs if isinstance(value, Transcript) and value.final]
        return "" if len(finals) == 1 and outputs[-1] is finals[0] else "must end with its one final transcript"
    if kind == "llm":
        return _judge_text([value.text for value in outputs if isinstance(value, Text)])
    sounds = [value for value in outputs if isinstance(value, Sound)]
    if kind in ("tts", "end_to_end"):
        if not sounds:
            return "gave no sound"
        joined = Audio.join(sound.audio for sound in sounds)
        return _judge_sound(sounds) or ("" if joined.first_audible() is not None else "gave nothing but silence")
    return ""


def _judge_text(pieces: list[str]) -> str:
    if not "".join(pieces).strip():
        return "wrote nothing"
    if len(pieces) > 2 and all(later.startswith(piece) for piece, later in pairwise(pieces)):
        return "every piece repeats the one before it; yield what is new alone"
    if len(pieces) > 5 and not any(piece[:1].isspace() or piece[-1:].isspace() for piece in pieces):
        return "its pieces don't join to words; keep the spaces between them"
    return ""


def _judge_sound(sounds: list[Sound]) -> str:
    for sound in sounds:
        if not np.isfinite(sound.audio.samples).all():
            return "its sound holds values that are no numbers"
        if sound.audio.peak > 1.0:
            return f"its sound reaches {sound.audio.peak:g}; scale it to −1…1"
    return ""
