"""Players for tests, by import path."""

from __future__ import annotations

import time
from typing import Any

from openomni import Audio, Conversation, component


@component("player", "curious")
class Curious:
    """Says the sample's recording, then asks back what it was told, once, and says goodbye."""

    def say(self, conversation: Conversation) -> Any:
        said = conversation.so_far
        if not said:
            return conversation.script[0].audio
        if len(said) == 1:
            return (conversation.script[0].audio.cut(0.0), f"Is it so: {said[0].reply}")
        return None


@component("player", "odd")
class Odd:
    """Does what it is told to."""

    def __init__(self, does: str) -> None:
        self.does = does

    @property
    def listens(self) -> bool:
        if self.does == "vain":
            raise ValueError("no truth")
        return False

    def warm_up(self) -> None:
        time.sleep(3.0 if self.does == "late" else 0.0)

    def say(self, conversation: Conversation) -> Any:
        match self.does:
            case "nothing":
                return None
            case "raises":
                raise RuntimeError("no idea")
            case "leaves":
                raise SystemExit(3)
            case "hangs":
                time.sleep(5.0)
            case "number":
                return 5
            case "blank":
                return "  "
            case "much":
                return "a" * 2_001
            case "backwards":
                at = len(conversation.so_far)
                return conversation.script[-1 - at].audio if at < len(conversation.script) else None
            case "silence":
                return Audio.silence(1.0, 8_000)
            case "long":
                return Audio.silence(500.0, 8_000)
        return conversation.script[0].audio.cut(0.0)


@component("player", "historian")
class Historian:
    """Three times; says by its words how long it waited each time before."""

    async def say(self, conversation: Conversation) -> Any:
        waited = [str(each.voice_to_voice_s) for each in conversation.so_far]
        if len(waited) == 3:
            return None
        audio = conversation.script[0].audio
        return (audio, " ".join(waited)) if waited else audio


@component("player", "calm")
class Calm:
    """Says what was recorded, and waits for nobody."""

    listens = False

    async def say(self, conversation: Conversation) -> Audio | None:
        return conversation.line and conversation.line.audio
