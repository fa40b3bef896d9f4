"""The kinds of component: what each takes and gives, and the one method that its author writes.

A method may be a plain function, a generator, a coroutine or an async generator; `stage.py` adapts all four to a
stream of `events.Value`s and back. A *streaming* method, where a kind has one and the component implements it, gets
its input while it is still coming.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import WrongUsage, nearest

Channel = Literal["speech", "frames", "transcript", "emotion", "documents", "speaker", "reply", "voice"]
"""What flows between stages: the person's `speech` and camera `frames`, its `transcript`, how they feel (`emotion`),
what retrieval found (`documents`), who talks (`speaker`), the written `reply` and its `voice`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `takes` must be made by an earlier stage or captured; `may_take` is given where it exists."""

    name: str
    about: str
    method: str
    signature: str
    """What an author writes, for documentation and messages."""
    takes: tuple[Channel, ...] = ()
    may_take: tuple[Channel, ...] = ()
    gives: tuple[Channel, ...] = ()
    may_give: tuple[Channel, ...] = ()
    streaming: str = ""
    """Name of the optional streaming method; empty where the kind has none."""
    options: tuple[str, ...] = ()
    """What a session may ask of one call. A method that has a parameter of that name (`str | None = None`) is given it
    by keyword; another one is called without."""
    stage: bool = field(default=True)
    """Whether it can stand in a pipeline's `stages`; others serve turn-taking, or an experiment's caller."""

    def method_of(self, component: Any) -> Callable[..., Any]:
        """The method that serves a class or an instance: the streaming one where it has one."""
        streams = bool(self.streaming) and hasattr(component, self.streaming)
        found: Callable[..., Any] = getattr(component, self.streaming if streams else self.method)
        return found

    def options_of(self, component: Any) -> tuple[str, ...]:
        """Those that a class or an instance takes."""
        parameters = inspect.signature(self.method_of(component)).parameters if self.options else {}
        return tuple(name for name in self.options if name in parameters)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "stt",
            "Speech to text",
            "transcribe",
            "transcribe(audio: Audio) -> Transcript | str",
            takes=("speech",),
            gives=("transcript",),
            streaming="transcribe_stream",
            options=("language",),
        ),
        Kind(
            "emotion",
            "How the person feels, −1…1",
            "recognize",
            "recognize(audio: Audio, text: str, frames: Sequence[Frame]) -> Emotion | float",
            takes=("speech",),
            may_take=("transcript", "frames"),
            gives=("emotion",),
        ),
        Kind(
            "speaker",
            "Who is talking",
            "identify",
            "identify(audio: Audio) -> Speaker | str",
            takes=("speech",),
            gives=("speaker",),
        ),
        Kind(
            "retrieval",
            "Passages that bear on what was said",
            "retrieve",
            "retrieve(query: str) -> Sequence[Document] | Sequence[str]",
            takes=("transcript",),
            gives=("documents",),
        ),
        Kind(
            "llm",
            "Writes the reply",
            "generate",
            "generate(messages: Sequence[Message], tools: Sequence[Tool], tool_choice: str)"
            " -> str | Iterator[str | ToolCall]",
            takes=("transcript",),
            may_take=("emotion", "documents", "speaker", "frames"),
            gives=("reply",),
        ),
        Kind(
            "tts",
            "Speaks the reply",
            "synthesize",
            "synthesize(text: str) -> Audio | Iterator[Audio | Sound]",
            takes=("reply",),
            gives=("voice",),
            options=("voice",),
        ),
        Kind(
            "end_to_end",
            "Speech in, speech out",
            "respond",
            "respond(audio: Audio, messages: Sequence[Message], frames: Sequence[Frame])"
            " -> Iterator[Audio | str | Transcript]",
            takes=("speech",),
            may_take=("frames",),
            gives=("voice",),
            may_give=("reply", "transcript"),
            options=("voice", "language"),
        ),
        Kind(
            "vad",
            "Whether a window holds speech",
            "open",
            "open() -> Detector, called with float32 samples of shape (window,) at 16 kHz, giving 0…1",
            stage=False,
        ),
        Kind(
            "turn",
            "Whether the person has finished, at a pause",
            "finished",
            "finished(audio: Audio, text: str, endings: Endings) -> float, the probability 0…1",
            stage=False,
        ),
        Kind(
            "player",
            "Plays the user of a sample",
            "say",
            "say(conversation: Conversation) -> Audio | str | None, None when it has said all",
            stage=False,
        ),
    )
}


def kind_of(name: str) -> Kind:
    """Raises `WrongUsage` with the nearest name."""
    try:
        return KINDS[name]
    except KeyError:
        raise WrongUsage(f"unknown kind {name!r}; {nearest(name, KINDS)}") from None
