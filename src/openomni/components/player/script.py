"""The user of a script: the samples' texts in a voice that is made."""

from __future__ import annotations

from ..conversation import Conversation
from ..registry import component


@component("player", "script")
class Script:
    """Says the samples' texts in a made voice, at the moments that the samples have for them; its recordings are not
    heard. Ours; Apache-2.0."""

    listens = False

    def say(self, conversation: Conversation) -> str | None:
        line = conversation.line
        return None if line is None else line.text
