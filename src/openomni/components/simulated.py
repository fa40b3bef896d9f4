"""Components with given timings and contents, for tests and benchmarks; no model runs in them.

Waiting is asynchronous, so that a test's virtual clock drives it. `fail` makes a component misbehave: `raise` an error,
`hang` for ever, or return the `wrong_type`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from ..events import Document, Emotion, Message, Tool, ToolCall, Transcript, Usage
from ..lazy import Lazy
from ..media import Audio, Frame
from .registry import component

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

Failure = Literal["", "raise", "hang", "wrong_type"]
Seconds = Annotated[float, msgspec.Meta(ge=0)]

TONE = 440.0
"""Hz of a simulated voice."""


class _Simulated:
    """What all of them share: some calls at a time, and how to misbehave."""

    slots = 16

    def __init__(self, fail: Failure) -> None:
        self._fail = fail

    async def _misbehave(self) -> list[Any]:
        """Raises, hangs, or gives what the kind does not know; an empty list when it is to behave."""
        if self._fail == "raise":
            raise RuntimeError("simulated failure")
        if self._fail == "hang":
            await asyncio.Event().wait()
        return [{"simulated": "wrong type"}] if self._fail else []


async def _after(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


def tone(seconds: float, rate: int) -> Audio:
    """A wave at −12 dBFS that is audible from its first sample on."""
    return Audio(0.25 * np.cos(2 * np.pi * TONE * np.arange(round(seconds * rate)) / rate), rate)


@component("stt", "simulated")
class SimulatedTranscriber(_Simulated):
    """Gives one text after a delay, whatever was said; for tests and benchmarks.

    Args:
        text: The transcript.
        delay_s: Seconds from the end of the utterance to the transcript.
        fail: How to misbehave.
    """

    def __init__(self, text: str = "What is the weather like?", delay_s: Seconds = 0.05, fail: Failure = "") -> None:
        super().__init__(fail)
        self._text, self._delay = text, delay_s

    async def transcribe(self, audio: Audio) -> AsyncIterator[Any]:
        for wrong in await self._misbehave():
            yield wrong
        await _after(self._delay)
        yield Transcript(self._text, diagnostics={"seconds": audio.duration})


@component("llm", "simulated")
class SimulatedWriter(_Simulated):
    """Writes one text word by word, whatever is asked; for tests and benchmarks.

    Of tools that it is given it calls the first, once, before it writes.

    Args:
        text: The reply.
        first_token_s: Seconds to the first word.
        token_s: Seconds from word to word.
        fail: How to misbehave.
    """

    def __init__(
        self,
        text: str = "It is sunny today. Take a walk.",
        first_token_s: Seconds = 0.1,
        token_s: Seconds = 0.0,
        fail: Failure = "",
    ) -> None:
        super().__init__(fail)
        self._text, self._first, self._each = text, first_token_s, token_s

    async def generate(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), tool_choice: str = "auto"
    ) -> AsyncIterator[Any]:
        for wrong in await self._misbehave():
            yield wrong
        if tools and tool_choice != "none" and messages[-1].role != "tool":
            await _after(self._first)
            yield ToolCall(uuid.uuid4().hex, tools[0].name, "{}")
            return
        words = self._text.split(" ")
        for index, word in enumerate(words):
            await _after(self._each if index else self._first)
            yield word if index == 0 else f" {word}"
        yield Usage(input_tokens=sum(len(message.content.split()) for message in messages), output_tokens=len(words))


@component("tts", "simulated")
class SimulatedVoice(_Simulated):
    """Speaks every clause as a tone; for tests and benchmarks.

    Args:
        first_chunk_s: Seconds to the first piece of a clause.
        seconds: Length of a clause.
        chunk_s: Length of a piece; all after the first come at once.
        rate: Samples a second.
        fail: How to misbehave.
    """

    def __init__(
        self,
        first_chunk_s: Seconds = 0.05,
        seconds: Seconds = 1.0,
        chunk_s: Annotated[float, msgspec.Meta(gt=0)] = 0.1,
        rate: Annotated[int, msgspec.Meta(ge=8000)] = 24_000,
        fail: Failure = "",
    ) -> None:
        super().__init__(fail)
        self._first, self._seconds, self._chunk, self._rate = first_chunk_s, seconds, chunk_s, rate

    async def synthesize(self, text: str) -> AsyncIterator[Any]:
        for wrong in await self._misbehave():
            yield wrong
        await _after(self._first)
        async for piece in self._pieces():
            yield piece
        yield Usage(characters=len(text))

    async def _pieces(self) -> AsyncIterator[Audio]:
        whole = tone(self._seconds, self._rate)
        step = max(round(self._chunk * self._rate), 1)
        for start in range(0, len(whole.samples), step):
            yield Audio(whole.samples[start : start + step], self._rate)


@component("emotion", "simulated")
class SimulatedEmotion(_Simulated):
    """Gives one value after a delay; for tests and benchmarks.

    Args:
        overall: The value, −1…1.
        delay_s: Seconds to the value.
        fail: How to misbehave.
    """

    def __init__(
        self,
        overall: Annotated[float, msgspec.Meta(ge=-1, le=1)] = 0.5,
        delay_s: Seconds = 0.05,
        fail: Failure = "",
    ) -> None:
        super().__init__(fail)
        self._overall, self._delay = overall, delay_s

    async def recognize(self, audio: Audio, text: str, frames: Sequence[Frame]) -> Any:
        for wrong in await self._misbehave():
            return wrong
        await _after(self._delay)
        return Emotion(self._overall)


@component("retrieval", "simulated")
class SimulatedRetrieval(_Simulated):
    """Finds the same passages after a delay; for tests and benchmarks.

    Args:
        passages: What it finds, best first.
        delay_s: Seconds to find them.
        fail: How to misbehave.
    """

    def __init__(self, passages: Sequence[str] = ("A passage.",), delay_s: Seconds = 0.05, fail: Failure = "") -> None:
        super().__init__(fail)
        self._passages, self._delay = passages, delay_s

    async def retrieve(self, query: str) -> Any:
        for wrong in await self._misbehave():
            return wrong
        await _after(self._delay)
        return [Document(text, score=1 / (rank + 1), source="simulated") for rank, text in enumerate(self._passages)]


@component("end_to_end", "simulated")
class SimulatedAgent(_Simulated):
    """Hears and answers in one component, with a tone and its text; for tests and benchmarks.

    Args:
        heard: The transcript that it gives; none when empty.
        text: The reply's text.
        first_chunk_s: Seconds to the first piece of sound.
        seconds: Length of the reply.
        chunk_s: Length of a piece.
        rate: Samples a second.
        fail: How to misbehave.
    """

    def __init__(
        self,
        heard: str = "What is the weather like?",
        text: str = "It is sunny today.",
        first_chunk_s: Seconds = 0.1,
        seconds: Seconds = 1.0,
        chunk_s: Annotated[float, msgspec.Meta(gt=0)] = 0.1,
        rate: Annotated[int, msgspec.Meta(ge=8000)] = 24_000,
        fail: Failure = "",
    ) -> None:
        super().__init__(fail)
        self._heard, self._text = heard, text
        self._voice = SimulatedVoice(first_chunk_s, seconds, chunk_s, rate)

    async def respond(self, audio: Audio, messages: Sequence[Message], frames: Sequence[Frame]) -> AsyncIterator[Any]:
        for wrong in await self._misbehave():
            yield wrong
        if self._heard:
            yield Transcript(self._heard)
        yield self._text
        async for piece in self._voice.synthesize(self._text):
            yield piece
