"""What a session's client has set: how turns are taken, and what goes along with each."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ..events import SessionChange, Tool
from .spec import TurnTaking
from .utterance import Utterance

_TIMES = {"end_of_turn_silence": "silence", "threshold": "threshold", "padding": "padding"}
"""A field of `TurnTaking`, and that of `SessionChange` which stands for it."""


@dataclass(slots=True)
class Settings:
    """Those in force; `taking` begins as the pipeline's own."""

    taking: TurnTaking
    detects_turns: bool = True
    """Else only a commit ends an utterance."""
    creates: bool = True
    """What was said is answered, without being asked to."""
    interruptible: bool = True
    semantic: bool = True
    """An unfinished sentence is waited for longer."""
    text_only: bool = False
    instructions: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    voice: str = ""
    language: str = ""

    def change(self, event: SessionChange) -> None:
        for name, value in (
            ("detects_turns", event.turn_detection),
            ("creates", event.create_response),
            ("interruptible", event.interrupt_response),
            ("semantic", event.semantic),
            ("text_only", event.text_only),
            ("instructions", event.instructions),
            ("tools", event.tools),
            ("tool_choice", event.tool_choice),
            ("voice", event.voice),
            ("language", event.language),
        ):
            if value is not None:
                setattr(self, name, value)
        times = {ours: getattr(event, theirs) for ours, theirs in _TIMES.items()}
        self.taking = msgspec.structs.replace(
            self.taking, **{name: value for name, value in times.items() if value is not None}
        )

    def fill(self, utterance: Utterance) -> None:
        """What the utterance does not say itself."""
        utterance.instructions = utterance.instructions or self.instructions
        utterance.tools = utterance.tools or self.tools
        if utterance.tool_choice == "auto":
            utterance.tool_choice = self.tool_choice
        utterance.text_only = utterance.text_only or self.text_only
        utterance.voice = utterance.voice or self.voice
        utterance.language = utterance.language or self.language
