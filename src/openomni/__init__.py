"""OpenOmni: build, run, measure and compare multimodal conversational agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

# A component's author imports from here; nothing is loaded before it is asked for, so that a listener stays small.
_HOMES = {
    "Audio": "media", "Clip": "media", "Frame": "media",
    "Document": "events", "Emotion": "events", "Endings": "events", "Message": "events", "Speaker": "events",
    "Transcript": "events", "Usage": "events", "Word": "events",
    "Conversation": "components.conversation", "component": "components.registry", "Declined": "errors",
    "metric": "metrics.declaring",
}  # fmt: skip
__all__ = ["Audio", "Clip", "Conversation", "Declined", "Document", "Emotion", "Endings", "Frame", "Message", "Speaker",
           "Transcript", "Usage", "Word", "component", "metric"]  # fmt: skip

if TYPE_CHECKING:
    from .components.conversation import Conversation
    from .components.registry import component
    from .errors import Declined
    from .events import Document, Emotion, Endings, Message, Speaker, Transcript, Usage, Word
    from .media import Audio, Clip, Frame
    from .metrics.declaring import metric


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'openomni' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
