"""One turn through the stages of a pipeline, everything overlapped.

Each stage runs as a task of its own and reads from channels that others still write to: the language model starts
on the transcript, the voice on the first clause, the listener's side on the first piece of sound. Cancelling `run`
leaves no task behind it, and nothing is emitted afterwards.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Protocol, get_args

from .. import clock
from ..components.kinds import KINDS, Channel
from ..errors import OpenOmniError
from ..events import (
    Documents,
    Emotion,
    Heard,
    Message,
    Picture,
    Prompt,
    ReplySound,
    ReplyText,
    SessionOutput,
    Sound,
    Speaker,
    Text,
    ToolCall,
    ToolCalled,
    Transcript,
    Usage,
    Value,
)
from ..media import Audio, Frame
from .channel import Arrival, Flow
from .clauses import Clause
from .conversation import of_user
from .heard import SpokenClause
from .pictures import ShownPicture, shown
from .prompt import beginning, make_prompt, recent, spread
from .reasoning import Sorted
from .spec import Framework, Pipeline, StageSpec
from .task import TaskTrace
from .utterance import Utterance
from .writing import Writing

PIECE_SECONDS = 0.5
"""Reply sound leaves in pieces of at most this length, far below the bus's message limit."""

FLOOR_WAIT = 0.005
"""Seconds from which on the wait for the word counts as one."""

Emit = Callable[[SessionOutput], Awaitable[None]]


class StageRunner(Protocol):
    """Runs one stage, here or on another agent. It opens attempts on `task` and fills in their stamps."""

    def run(self, stage: StageSpec, task: TaskTrace, inputs: AsyncIterator[Value]) -> AsyncIterator[Value]: ...

    async def prepare(self, stage: StageSpec, messages: Sequence[Message]) -> None:
        """Lets a language model read what the next prompt begins with, while nobody waits; a run interrupts it."""

    async def load_voice(self, stage: StageSpec, voice: str) -> None:
        """Lets a voice's component load the voice of that name before it has to speak."""

    async def ending(self, stage: StageSpec, messages: Sequence[Message]) -> float | None:
        """How likely the last message ends where it does, from a language model that can say; it has then read it."""


class TurnFailed(OpenOmniError):
    """A stage failed; the message names its component and the reason."""


class _NothingSaid(Exception):
    """The transcript is empty: what follows has nothing to do."""


@dataclass(slots=True)
class Reply:
    """What came out, and the stamps of its sound on the host's clock."""

    transcript: str = ""
    text: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    clauses: list[SpokenClause] = field(default_factory=list)
    rate: int = 0
    samples: int = 0
    first_sound: float | None = None
    voice: TaskTrace | None = None
    """The task that made the first sound."""
    first_emitted: float | None = None
    """The first sound left; whoever lets it pass stamps it."""
    audible_offset: float | None = None
    """Seconds of reply sound before the first sample above −40 dBFS."""


@dataclass
class Turn:
    """One utterance and the response to it. `run` once."""

    turn_id: str
    pipeline: Pipeline
    runner: StageRunner
    utterance: Utterance
    emit: Emit
    to_gateway: Callable[[float], float] = lambda stamp: stamp
    """Maps a stamp of this machine to the gateway's clock."""
    clearance: Callable[[str | None], Awaitable[None]] | None = None
    """Asked once with the transcript (None where no stage makes one) before anything answers; it returns when the
    answer may begin, with the utterance's history filled in."""
    revision: int = 0
    reply: Reply = field(default_factory=Reply)
    tasks: list[TaskTrace] = field(default_factory=list)
    started: float | None = None

    def __post_init__(self) -> None:
        self._flows: dict[Channel, Flow] = {channel: Flow() for channel in get_args(Channel)}
        given = self._fill_from_utterance()
        for stage in self.pipeline.stages:
            kind = KINDS[stage.kind]
            # A typed message is its own transcript: what would make one, or needs sound, is left out.
            if given.issuperset(kind.gives) or (self.utterance.silent and "speech" in kind.takes):
                continue
            if self.utterance.text_only and kind.gives == ("voice",) and "reply" in kind.takes:
                continue
            self.tasks.append(TaskTrace(stage, self.revision))
        self._writing = Writing()
        self._looked_at: dict[str, asyncio.Task[list[ShownPicture]]] = {}
        self._utterance_hash: str | None = None
        self.shown: dict[str, tuple[ShownPicture, bool]] = {}
        """Pictures that a model got, by their hash, and whether the camera saw them: the client put in the others."""
        self.told: list[str] = []
        """Names of the conversation's items that the language model got, its own utterance's the last."""
        self._cleared: asyncio.Event | None = None
        self.superseded = False
        """Set before `run` is cancelled because the person spoke on."""
        self.cleared: float | None = None
        """When the answer was allowed to begin."""
        self.read_from: float | None = None
        """Since when its language model had read what was said, by then."""

    @property
    def speaks(self) -> bool:
        """Whether its reply has a voice."""
        return any("voice" in _gives(task.stage) for task in self.tasks)

    async def run(self) -> None:
        """Raises `TurnFailed` when a stage fails; CancelledError passes through, with every task settled."""
        self.started = clock.now()
        made = {channel for task in self.tasks for channel in _gives(task.stage)}
        for channel in self._flows.keys() - made:
            self._flows[channel].close()
        try:
            async with asyncio.TaskGroup() as group:
                for task in self.tasks:
                    group.create_task(self._run_stage(task), name=f"{self.turn_id}:{task.stage.name}")
        except* OpenOmniError as failures:
            raise failures.exceptions[0] from None
        finally:
            for looking in self._looked_at.values():
                looking.cancel()
            for task in self.tasks:
                task.finish("superseded" if self.superseded else "cancelled")

    @property
    def utterance_hash(self) -> str:
        """SHA-256 of the sound (PCM16 at 16 kHz) or the typed words (UTF-8); empty where nobody said anything."""
        if self._utterance_hash is None:
            said = self.utterance
            data = said.audio.pcm16() if said.audio is not None else (said.text or "").encode(errors="replace")
            self._utterance_hash = hashlib.sha256(data).hexdigest() if data else ""
        return self._utterance_hash

    def let_go(self) -> None:
        """Forgets sound and pictures, once the turn is over: a session may last for hours."""
        _ = self.utterance_hash  # known from here on without the sound
        self.shown = {name: (replace(each, pixels=None), seen) for name, (each, seen) in self.shown.items()}
        self.utterance = replace(
            self.utterance, audio=None, text=None, frames=(), images=(), history=(), items=(), given={}, clauses=()
        )
        self._flows.clear()

    def _fill_from_utterance(self) -> set[Channel]:
        """Puts what the person gave, and what is given in place of a stage's output, on its channels; returns those
        that no stage may make."""
        for channel, values in self.utterance.given.items():
            for value in values:
                self._flows[channel].put(value)
                match value:
                    case Transcript():
                        self.reply.transcript = value.text
                    case Text():
                        self.reply.text += value.text
        given = set(self.utterance.given)
        frames = self._flows["frames"]
        for frame in self.utterance.frames:
            frames.put(Picture(frame))
        if self.utterance.audio is not None:
            self._flows["speech"].put(Sound(self.utterance.audio))
        if not self.utterance.silent or "transcript" in given:
            return given
        text = "" if self.utterance.speaks_first else self.utterance.text or ""
        self._flows["transcript"].put(Transcript(text))
        self.reply.transcript = text
        return {*given, "transcript"}

    async def _run_stage(self, task: TaskTrace) -> None:
        if chosen := spread(self.utterance.frames, task.stage.framework.frames):
            # While the recogniser is at work: a language model that waits for the words finds them decoded.
            self._looked_at[task.task_id] = asyncio.create_task(shown(chosen), name=f"pictures of {task.stage.name}")
        try:
            async with aclosing(self._inputs(task)) as inputs:
                await self._exchange(task, inputs)
        except _NothingSaid:
            task.finish("cancelled", "nothing was said")
        except asyncio.CancelledError:
            task.finish("superseded" if self.superseded else "cancelled")
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, OpenOmniError) else f"{type(error).__name__}: {error}"
            task.finish("failed", reason)
            named = reason if task.stage.component in reason else f"{task.stage.name}: {reason}"
            raise TurnFailed(named) from error
        for channel in _gives(task.stage):
            self._flows[channel].close()

    async def _exchange(self, task: TaskTrace, inputs: AsyncIterator[Value]) -> None:
        """Gives a stage its input and takes its output on, as both come."""
        try:
            first = await anext(inputs)
        except StopAsyncIteration:
            task.finish("cancelled", "there was nothing for it to do")
            return
        task.ask(voice=self.utterance.voice, language=self.utterance.language)
        stream = self.runner.run(task.stage, task, _chain(first, inputs))
        try:
            async for value in stream:
                await self._take(task, value)
            await self._write(task, self._writing.rest(task))
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
        task.finish("completed", task.shortfall)

    async def _take(self, task: TaskTrace, value: Value) -> None:
        """Puts one output on its channel, and tells the outside what it may want to know."""
        if isinstance(value, Text):
            await self._write(task, self._writing.sort(task, value))
            return
        task.note(value, clock.now())
        match value:
            case Transcript():
                self.reply.transcript = value.text
                self._flows["transcript"].put(value, task)
                await self.emit(Heard(self.turn_id, value.text, value.final))
            case Sound():
                arrival = self._flows["voice"].put(value, task)
                self._note_clause(value)
                await self._speak(value.audio, arrival)
            case ToolCall():
                self.reply.tool_calls.append(value)
                await self.emit(ToolCalled(self.turn_id, value))
            case Emotion():
                self._flows["emotion"].put(value, task)
            case Documents():
                self._flows["documents"].put(value, task)
            case Speaker():
                self._flows["speaker"].put(value, task)
            case Usage():
                pass
            case _:
                raise TurnFailed(f"{task.stage.name} gave a {type(value).__name__}, which no {task.stage.kind} gives")

    async def _write(self, task: TaskTrace, piece: Sorted) -> None:
        """What a model wrote: its reply goes on, its reasoning stays in the record."""
        if piece.takes_back:
            task.take_back()
            self.reply.text = ""
        if not (piece.said or piece.thought):
            return
        text = Text(piece.said, piece.thought)
        task.note(text, clock.now())
        if piece.said:
            self.reply.text += piece.said
            self._flows["reply"].put(text, task)
            await self.emit(ReplyText(self.turn_id, piece.said))
            if not self.reply.rate:
                # A model that writes much at once must not keep the voice from beginning with its first words.
                await asyncio.sleep(0)

    async def _speak(self, audio: Audio, arrival: Arrival) -> None:
        reply = self.reply
        if not reply.rate:
            reply.rate, reply.first_sound, reply.voice = audio.rate, arrival.at, arrival.by
        audio = audio.resample(reply.rate)
        if reply.audible_offset is None and (offset := audio.first_audible()) is not None:
            reply.audible_offset = reply.samples / reply.rate + offset
        size = round(PIECE_SECONDS * reply.rate)
        for start in range(0, len(audio.samples), size):
            piece = Audio(audio.samples[start : start + size], reply.rate)
            sent = self.to_gateway(clock.now())
            await self.emit(ReplySound(self.turn_id, reply.rate, reply.samples, sent, piece.pcm16()))
            reply.samples += len(piece.samples)

    def _note_clause(self, sound: Sound) -> None:
        """Which words the sound speaks: what is heard of a reply is known by it."""
        clauses, reply = self.reply.clauses, self.reply
        given = self._writing.clauses
        number = sound.clause if sound.clause >= 0 else max(len(given) - 1, 0)
        while len(clauses) <= number:
            clause = given[len(clauses)] if len(clauses) < len(given) else Clause.of("")
            clauses.append(SpokenClause(clause, reply.samples / reply.rate if reply.rate else 0.0))
        clauses[number].pieces.append(sound.audio)
        clauses[number].words = clauses[number].words or sound.words

    # ---- what each kind of stage is given ----

    async def _inputs(self, task: TaskTrace) -> AsyncGenerator[Value, None]:
        make = {
            "stt": self._speech,
            "speaker": self._speech,
            "emotion": self._speech_and_words,
            "retrieval": self._query,
            "llm": self._prompt,
            "tts": self._spoken,
            "end_to_end": self._conversation,
        }[task.stage.kind]
        async for value in make(task):
            yield value

    async def _speech(self, task: TaskTrace) -> AsyncIterator[Value]:
        async for arrival in self._flows["speech"]:
            self._release(task, arrival)
            yield arrival.value

    async def _speech_and_words(self, task: TaskTrace) -> AsyncIterator[Value]:
        transcript = await self._before(task, "transcript")
        async for value in self._speech(task):
            yield value
        if transcript is not None:
            self._release(task, transcript)
            yield transcript.value
        for frame in await self._pictures(task):
            yield Picture(frame)

    async def _query(self, task: TaskTrace) -> AsyncIterator[Value]:
        arrival = await self._said()
        self._release(task, arrival)
        yield arrival.value

    async def _prompt(self, task: TaskTrace) -> AsyncIterator[Value]:
        newest = await self._said()
        extras: dict[str, Value | None] = {}
        for channel in ("emotion", "documents", "speaker"):
            arrival = await self._before(task, channel)
            extras[channel] = arrival.value if arrival else None
            if arrival is not None and arrival.at > newest.at:
                newest = arrival
        framework = task.stage.framework
        images, frames = await self._put_in(), await self._pictures(task)
        self._note_told(framework)
        self._release(task, newest)
        yield make_prompt(
            framework,
            self.utterance.history,
            self.reply.transcript,
            instructions=self.utterance.instructions,
            frames=(*images, *frames),
            tools=self.utterance.tools,
            tool_choice=self.utterance.tool_choice,
            **extras,  # type: ignore[arg-type]
        )

    async def _spoken(self, task: TaskTrace) -> AsyncIterator[Value]:
        clauses = self._clauses() if self.utterance.clauses else self._writing.spoken(self._flows["reply"])
        async for clause, arrival in clauses:
            self._release(task, arrival)
            task.note_clause(clause.spoken)
            yield Text(clause.spoken)

    async def _clauses(self) -> AsyncIterator[tuple[Clause, Arrival]]:
        """Of a reply that is given with how it was cut: that depends on when its pieces came."""
        arrival = await self._flows["reply"].last()
        for text in self.utterance.clauses if arrival is not None else ():
            clause = Clause.of(text)
            self._writing.clauses.append(clause)
            assert arrival is not None
            yield clause, arrival

    async def _conversation(self, task: TaskTrace) -> AsyncIterator[Value]:
        framework = task.stage.framework
        await self._clear(None)
        self._note_told(framework)
        told = beginning(framework, self.utterance.history, self.utterance.instructions)
        async for arrival in self._flows["speech"]:
            if task.ready is None:
                self._release(task, arrival)
                yield Prompt(tuple(told))
            yield arrival.value
        for frame in await self._pictures(task):
            yield Picture(frame)

    async def _pictures(self, task: TaskTrace) -> list[Frame]:
        """What the camera saw during the utterance, as many as the stage takes."""
        looking = self._looked_at.get(task.task_id)
        found = await looking if looking is not None else []
        self.shown |= {each.sha256: (each, True) for each in found}
        return [each.frame for each in found]

    async def _put_in(self) -> list[Frame]:
        """What the client put into the message itself."""
        found = await shown(self.utterance.images)
        self.shown |= {each.sha256: (each, False) for each in found}
        return [each.frame for each in found]

    def _note_told(self, framework: Framework) -> None:
        names, history = self.utterance.items, recent(self.utterance.history, framework.history)
        own = [] if self.utterance.speaks_first else [of_user(self.turn_id)]
        self.told = [*names[len(names) - len(history) :], *own] if names else own

    async def _said(self) -> Arrival:
        arrival = await self._flows["transcript"].last()
        await self._clear(self.reply.transcript)
        nothing = not self.reply.transcript.strip() and not self.utterance.images
        if arrival is None or (nothing and not self.utterance.speaks_first):
            raise _NothingSaid
        return arrival

    async def _clear(self, transcript: str | None) -> None:
        """Several stages may ask; the first one's question counts for all."""
        if self.clearance is None:
            return
        if self._cleared is None:
            self._cleared = asyncio.Event()
            await self.clearance(transcript)
            self.cleared = clock.now()
            self._cleared.set()
        await self._cleared.wait()

    async def _before(self, task: TaskTrace, channel: Channel) -> Arrival | None:
        """The last value of a channel that a stage before this one makes; None when none does."""
        for stage in self.pipeline.stages:
            if stage is task.stage:
                return None
            if channel in _gives(stage):
                return await self._flows[channel].last()
        return None

    def _release(self, task: TaskTrace, arrival: Arrival) -> None:
        """The first input makes a task ready; what made that input is what released the task."""
        if task.ready is None:
            task.ready = clock.now()
            task.released_by, task.released_at = arrival.by, arrival.at
            if self.cleared is not None and self.cleared - arrival.at > FLOOR_WAIT:
                task.cleared = self.cleared
                task.read_from = self.read_from if task.stage.kind == "llm" else None


def _gives(stage: StageSpec) -> tuple[Channel, ...]:
    kind = KINDS[stage.kind]
    return (*kind.gives, *kind.may_give)


async def _chain(first: Value, rest: AsyncIterator[Value]) -> AsyncIterator[Value]:
    yield first
    async for value in rest:
        yield value
