"""The values that stages take and give. A new kind of component adds its own here, and to `Value`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..media import Audio, Frame
from .event import Event


class Word(msgspec.Struct, frozen=True):
    """One word, in seconds from the start of the utterance, or of the clause, that it belongs to."""

    text: str
    start: float
    end: float
    probability: float | None = None


class Sound(Event, frozen=True, tag="sound"):
    """A stretch of audio; `start` is its first sample's place in seconds on the stream that it belongs to.

    `clause`: of a voice's sound, which of the texts that it was given (from 0) is spoken; -1 where nobody knows.
    `words`: with the first sound of a clause, from a voice that knows when it speaks which word of it.
    """

    audio: Audio
    start: float = 0.0
    clause: int = -1
    words: tuple[Word, ...] = ()


class Picture(Event, frozen=True, tag="picture"):
    """A camera frame."""

    frame: Frame


class Transcript(Event, frozen=True, tag="transcript"):
    """What was said. A partial one (`final` false) is replaced by the next; the final one stands.

    `ending`: how likely it is over where it ends, 0…1, from a recogniser that can say. `diagnostics` carries what the
    recogniser noticed about itself: a fallback taken, a repetition, a log probability.
    """

    text: str
    final: bool = True
    language: str | None = None
    words: tuple[Word, ...] = ()
    diagnostics: dict[str, float | str | bool] = {}
    ending: float | None = None


class Endings(msgspec.Struct, frozen=True):
    """How likely what was said is over where it ends, 0…1, as models of the pipeline see it that had to look at it
    anyway; None where one can't say."""

    recogniser: float | None = None
    reader: float | None = None
    """The language model."""


NOTHING_KNOWN = Endings()


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the client runs for the language model; `parameters` is a JSON Schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class ToolCall(Event, frozen=True, tag="tool_call"):
    """The language model wants a tool run; `arguments` is JSON text, as the model wrote it."""

    call_id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item of the conversation, as a language model reads it.

    An assistant's message may carry the `tool_calls` that it made; a `tool` message is the result of the call
    `call_id`.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    images: tuple[Frame, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


class Prompt(Event, frozen=True, tag="prompt", omit_defaults=True):
    """What a language model answers: instructions, history and the newest utterance, oldest first.

    `tools` are those that it may call; `tool_choice` is `auto`, `none`, `required` or a tool's name.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"


class Text(Event, frozen=True, tag="text", omit_defaults=True):
    """A piece of written reply: a token or two from a language model, a clause on its way to a voice.

    `reasoning`: what a model thought on its way there, from a component that knows; it is recorded, and neither shown
    nor spoken nor remembered.
    """

    text: str
    reasoning: str = ""


class Emotion(Event, frozen=True, tag="emotion"):
    """How the person feels: values in −1…1, negative to positive; None where the modality was not judged."""

    overall: float
    text: float | None = None
    audio: float | None = None
    video: float | None = None
    label: str | None = None


class Document(msgspec.Struct, frozen=True):
    """A retrieved passage; a higher score is a better match."""

    text: str
    score: float
    source: str = ""


class Documents(Event, frozen=True, tag="documents"):
    """What retrieval found, best first."""

    documents: tuple[Document, ...]


class Speaker(Event, frozen=True, tag="speaker"):
    """Who is talking: a participant's id or a label, and how sure (0…1)."""

    label: str
    confidence: float | None = None


class Usage(Event, frozen=True, tag="usage", omit_defaults=True):
    """What a call consumed, for cost: tokens, characters or seconds, and money where the component knows it.

    `cached_tokens` are those of the input that the model had read before; `requests` and `images` are counted by the
    framework where the component says nothing.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    characters: int | None = None
    seconds: float | None = None
    cost: float | None = None
    currency: str = "USD"
    cached_tokens: int | None = None
    images: int | None = None
    requests: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """Both together; what neither knows stays unknown. Amounts of two currencies can't be added (ValueError)."""
        if None not in (self.cost, other.cost) and self.currency != other.currency:
            raise ValueError(f"costs in {self.currency} and {other.currency} can't be added; use one currency")
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in _AMOUNTS}
        known = {
            name: sum(part for part in pair if part is not None) for name, pair in pairs.items() if pair != (None, None)
        }
        return Usage(**known, currency=other.currency if self.cost is None else self.currency)


_AMOUNTS = tuple(name for name in Usage.__struct_fields__ if name != "currency")


class Unknown(Event, frozen=True, tag="unknown"):
    """In place of a value of a newer version, which nobody here can use: it is counted, and left out."""

    name: str = ""


Value = Sound | Picture | Transcript | Prompt | Text | Emotion | Documents | Speaker | Usage | ToolCall
