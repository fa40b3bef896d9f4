"""What a turn begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from ..bounds import MAX_NAME
from ..components.kinds import Channel
from ..events import Message, Tool, Value
from ..media import Audio, Frame
from ..records import AskedRecord, Given


@dataclass(slots=True)
class Utterance:
    """What a turn begins with: the person's sound at 16 kHz (None when `text` was typed), frames, and what was said
    before. `instructions` of the session stand for the pipeline's."""

    audio: Audio | None = None
    text: str | None = None
    frames: Sequence[Frame] = ()
    images: Sequence[Frame] = ()
    """Pictures that the client put into the message itself: they are always told, frames as the stage says."""
    history: Sequence[Message] = ()
    items: Sequence[str] = ()
    """The names of the history's items, one each; empty where they have none."""
    instructions: str | None = None
    tools: Sequence[Tool] = ()
    tool_choice: str = "auto"
    text_only: bool = False
    """The reply is written and not spoken."""
    voice: str = ""
    """For the voice's component, where it takes one; empty: the pipeline's own."""
    language: str = ""
    """For the recogniser, where it takes one; empty: as the pipeline has it."""
    speaks_first: bool = False
    """Nobody said anything: the agent begins, or goes on after a tool's result."""
    given: Mapping[Channel, Sequence[Value]] = field(default_factory=dict)
    """What comes on a channel instead of what its stage would make: that does not run."""
    given_as: Mapping[str, Given] = field(default_factory=dict)
    """By kind, where that is from."""
    clauses: Sequence[str] = ()
    """How a given reply is cut for the voice; empty: as any other."""

    @property
    def silent(self) -> bool:
        """Nobody spoke: it was typed, or the agent speaks first."""
        return self.speaks_first or self.text is not None

    @property
    def asked(self) -> AskedRecord | None:
        """What it says otherwise than the pipeline; None where that is nothing."""
        asked = AskedRecord(
            instructions=self.instructions,
            tools=[msgspec.to_builtins(tool) for tool in self.tools],
            tool_choice=self.tool_choice[:MAX_NAME],
            text_only=self.text_only,
            voice=self.voice[:MAX_NAME],
            language=self.language[:MAX_NAME],
            speaks_first=self.speaks_first,
        )
        return asked if asked != AskedRecord() else None
