"""Between what an author's method takes and gives, and the `events.Value`s that flow along a turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from ..errors import OpenOmniError
from ..events import (
    AXIS_RATE,
    Document,
    Documents,
    Emotion,
    Picture,
    Prompt,
    Sound,
    Speaker,
    Text,
    ToolCall,
    Transcript,
    Usage,
    Value,
)
from ..media import Audio

TAKES: dict[str, tuple[type, ...]] = {
    "stt": (Sound,),
    "emotion": (Sound, Transcript, Picture),
    "speaker": (Sound,),
    "retrieval": (Transcript,),
    "llm": (Prompt,),
    "tts": (Text,),
    "end_to_end": (Prompt, Sound, Picture),
}
"""Kind → the values that its stage is given."""

GIVES: dict[str, str] = {
    "stt": "Transcript or str",
    "emotion": "Emotion or a number in −1…1",
    "speaker": "Speaker or str",
    "retrieval": "a list of Document or str",
    "llm": "str, whole or in pieces",
    "tts": "Audio, whole or in pieces",
    "end_to_end": "pieces of Audio, str or Transcript",
}
"""Kind → what its method may return, in words."""


class WrongValue(OpenOmniError, TypeError):
    """A component was given, or gave, a value that its kind does not know."""


def check_input(kind: str, value: Value) -> Value:
    if not isinstance(value, TAKES[kind]):
        known = " or ".join(sort.__name__ for sort in TAKES[kind])
        raise WrongValue(f"was given {type(value).__name__}; {kind} takes {known}")
    return value


def arguments(kind: str, values: Sequence[Value]) -> tuple[Any, ...]:
    """What the kind's method is called with, in its order, from all of a stage's input."""
    sound = [value.audio for value in values if isinstance(value, Sound)]
    audio = Audio.join(sound) if sound else Audio.silence(0, AXIS_RATE)
    frames = tuple(value.frame for value in values if isinstance(value, Picture))
    text = next((value.text for value in reversed(values) if isinstance(value, Transcript)), "")
    prompt = next((value for value in reversed(values) if isinstance(value, Prompt)), None)
    messages = prompt.messages if prompt else ()
    tools, choice = (prompt.tools, prompt.tool_choice) if prompt else ((), "auto")
    if kind == "llm" and not messages:
        raise WrongValue("was given no message to answer")
    return {
        "stt": (audio,),
        "speaker": (audio,),
        "emotion": (audio, text, frames),
        "retrieval": (text,),
        "llm": (messages, tools, choice),
        "end_to_end": (audio, messages, frames),
    }[kind]


class Outputs:
    """Turns what one run of a component gives into values, and refuses what its kind does not give.

    `streamed` says whether an item came out of an iterator. A `str` streamed by a recogniser is the whole hypothesis
    so far and replaces the one before; the last one is repeated as final when the component has ended.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._hypothesis: Transcript | None = None
        self._found: list[Document] = []
        self._answered = False
        self._seconds = 0.0
        self._rate = 0

    def take(self, item: Any, streamed: bool) -> list[Value]:
        """The values that one item stands for. Raises `WrongValue`."""
        if isinstance(item, Usage):
            return [item]
        values: list[Value] = getattr(self, f"_{self.kind}")(item, streamed)
        self._answered = True
        return values

    def end(self) -> list[Value]:
        """What is owed after the last item. Raises `WrongValue` when a kind that must answer gave nothing."""
        if self.kind == "stt":
            last = self._hypothesis or (None if self._answered else Transcript(""))
            if last is None:
                return []
            return [Transcript(last.text, True, last.language, last.words, last.diagnostics)]
        if self.kind == "retrieval" and (self._found or not self._answered):
            return [Documents(tuple(self._found))]
        if self.kind in ("emotion", "speaker") and not self._answered:
            raise WrongValue(f"gave nothing; expected {GIVES[self.kind]}")
        return []

    def _wrong(self, item: Any, hint: str = "") -> WrongValue:
        shown = repr(item)
        shown = f" ({shown[:60]}{'…' if len(shown) > 60 else ''})" if item is not None else ""
        return WrongValue(f"returned {type(item).__name__}{shown}; expected {GIVES[self.kind]}{hint}")

    def _stt(self, item: Any, streamed: bool) -> list[Value]:
        if isinstance(item, str):
            item = Transcript(item, final=not streamed)
        if not isinstance(item, Transcript):
            raise self._wrong(item)
        self._hypothesis = None if item.final else item
        return [item]

    def _llm(self, item: Any, streamed: bool) -> list[Value]:
        if isinstance(item, ToolCall):
            return [item]
        if isinstance(item, str):
            item = Text(item)
        if not isinstance(item, Text):
            raise self._wrong(item)
        return [item] if item.text or item.reasoning else []

    def _tts(self, item: Any, streamed: bool) -> list[Value]:
        audio = item.audio if isinstance(item, Sound) else item
        if not isinstance(audio, Audio):
            hint = "; wrap it: Audio(samples, rate)" if hasattr(item, "dtype") else ""
            raise self._wrong(item, hint)
        if self._rate and audio.rate != self._rate:
            raise WrongValue(f"changed its rate from {self._rate} to {audio.rate} Hz in one reply; keep one rate")
        sound = Sound(audio, self._seconds, words=item.words if isinstance(item, Sound) else ())
        self._rate = audio.rate
        self._seconds += audio.duration
        return [sound] if len(audio.samples) else []

    def _end_to_end(self, item: Any, streamed: bool) -> list[Value]:
        if isinstance(item, (str, Text)):
            return self._llm(item, streamed)
        return [item] if isinstance(item, Transcript) else self._tts(item, streamed)

    def _emotion(self, item: Any, streamed: bool) -> list[Value]:
        if not isinstance(item, bool) and isinstance(item, Real):
            item = Emotion(float(item))
        if not isinstance(item, Emotion):
            raise self._wrong(item)
        for name in ("overall", "text", "audio", "video"):
            value = getattr(item, name)
            if value is not None and not (math.isfinite(value) and -1 <= value <= 1):
                raise WrongValue(f"gave the emotion {name}={value:g}; expected −1…1")
        return [item]

    def _speaker(self, item: Any, streamed: bool) -> list[Value]:
        if isinstance(item, str):
            item = Speaker(item)
        if not isinstance(item, Speaker):
            raise self._wrong(item)
        return [item]

    def _retrieval(self, item: Any, streamed: bool) -> list[Value]:
        if isinstance(item, Documents):
            return [item]
        if streamed:
            self._found.append(self._document(item))
            return []
        if not isinstance(item, (list, tuple)):
            raise self._wrong(item)
        return [Documents(tuple(self._document(entry) for entry in item))]

    def _document(self, item: Any) -> Document:
        if isinstance(item, str):
            return Document(item, score=0.0)
        if not isinstance(item, Document):
            raise self._wrong(item)
        return item
