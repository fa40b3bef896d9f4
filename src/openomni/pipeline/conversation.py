"""What was said so far, as a language model is told it: items by their names, in their order."""

from __future__ import annotations

from collections.abc import Iterable

from ..events import Message


def of_user(turn_id: str) -> str:
    """The name of what the person said in a turn."""
    return f"user:{turn_id}"


def of_reply(turn_id: str) -> str:
    """The name of what was answered in a turn."""
    return f"reply:{turn_id}"


class Conversation:
    """Items of one session. An item that is put again takes its old place."""

    def __init__(self, earlier: Iterable[Message] = ()) -> None:
        self._items: dict[str, Message] = {f"earlier:{number}": message for number, message in enumerate(earlier)}

    @property
    def messages(self) -> list[Message]:
        """Oldest first."""
        return list(self._items.values())

    def put(self, name: str, message: Message) -> None:
        self._items[name] = message

    def remove(self, name: str) -> bool:
        """Whether there was such an item."""
        return self._items.pop(name, None) is not None

    def take_typed(self) -> Message | None:
        """Takes the newest item out, when it is one of the person's: it becomes an utterance of its own."""
        name, message = next(reversed(self._items.items()), ("", None))
        if message is None or message.role != "user" or name.startswith(("user:", "earlier:")):
            return None
        return self._items.pop(name)
