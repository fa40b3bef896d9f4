"""What a component of the kind `player` is given before each utterance: the sample, and the conversation so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..media import Audio

MOST_SAID = 200
"""Utterances of one conversation, after which a player counts as one that never ends."""
MOST_CHARACTERS = 2_000
"""Of the text of one utterance: what is said in two minutes. All of a call's fit in its record."""


@dataclass(frozen=True, slots=True)
class ScriptLine:
    """An utterance as the sample has it. `text` and `answer` (what a right reply says) are None where nobody wrote
    them."""

    audio: Audio
    """Mono, at 16 kHz."""
    text: str | None = None
    answer: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What else the dataset says of it."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the player said, and what it heard then."""

    said: str
    """Empty where nobody wrote what the sound says."""
    reply: str = ""
    """What the reply said, as far as it was told; empty where there was none."""
    answered: bool = False
    cut: bool = False
    """The reply fell silent before it had said all."""
    voice_to_voice_s: float | None = None
    """From the last speech sample to the first sound of the reply; None where there was none."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """So far. A player that says one utterance for each of the sample's says `line`, until that is None."""

    sample: str
    """Its id."""
    script: tuple[ScriptLine, ...]
    so_far: tuple[Exchange, ...] = ()
    seed: int = 0
    """What is drawn goes by this, so that a conversation can be had again."""

    @property
    def line(self) -> ScriptLine | None:
        """The sample's utterance whose turn it is; None when all were said."""
        return self.script[len(self.so_far)] if len(self.so_far) < len(self.script) else None
