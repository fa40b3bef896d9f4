"""What was said so far, as a language model is told it: items by their names, in their order."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from ..events import Message

log = logging.getLogger(__name__)

MOST_PICTURE_BYTES = 64 << 20
"""What a conversation holds of pictures; a model that reads hundreds of them has nothing left for the words."""
ITS_OWN = ("user:", "reply:", "earlier:")
"""How the names of items begin that the client did not put there."""


def of_user(turn_id: str) -> str:
    """The name of what the person said in a turn."""
    return f"user:{turn_id}"


def of_reply(turn_id: str) -> str:
    """The name of what was answered in a turn."""
    return f"reply:{turn_id}"


@dataclass(slots=True)
class ConversationItem:
    """One of a conversation, `position` its place in it; numbers may be missing. `record` is the id that it is kept
    under: that of what a model was told is never another content's."""

    name: str
    position: int
    message: Message
    record: str
    gone: bool = False
    changed: bool = True
    told: bool = False


class Conversation:
    """Items of one session. An item that is put again takes its old place.

    `earlier`: what another host did of it, under these `names`; `version` is greater than all that it kept.
    """

    def __init__(self, earlier: Iterable[Message] = (), names: Iterable[str] = (), version: int = 0) -> None:
        self._items: dict[str, ConversationItem] = {}
        self._left: list[ConversationItem] = []
        self._told: Counter[str] = Counter()
        """How many contents of a name were told, and are not what it holds now."""
        self._count = 0
        self._version = version
        named = list(names)
        for number, message in enumerate(earlier):
            self.put(named[number] if number < len(named) else f"earlier:{number}", message)
        for item in self._items.values():
            item.changed = False  # whoever hosted it before has kept them

    @property
    def messages(self) -> list[Message]:
        """Oldest first."""
        return [item.message for item in self._items.values()]

    @property
    def names(self) -> list[str]:
        """Of the same items, as they are kept."""
        return [item.record for item in self._items.values()]

    def tell(self) -> tuple[list[Message], list[str]]:
        """Both, for a model: what is told stays in the records as it was."""
        for item in self._items.values():
            item.told = True
        return self.messages, self.names

    def put(self, name: str, message: Message) -> None:
        item = self._items.get(name)
        if item is None:
            self._items[name] = ConversationItem(name, self._count, message, self._record_of(name))
            self._count += 1
        elif item.message != message:
            self._change(item, message)
        if message.images:
            self._let_pictures_go()

    def _change(self, item: ConversationItem, message: Message) -> None:
        if item.told:
            self._leave(item)
            item = self._items[item.name] = ConversationItem(
                item.name, item.position, message, self._record_of(item.name)
            )
        item.message, item.changed = message, True

    def _leave(self, item: ConversationItem) -> None:
        item.gone = item.changed = True
        self._left.append(item)
        self._told[item.name] += item.told

    def _record_of(self, name: str) -> str:
        earlier = self._told[name]
        return f"{name}:{earlier + 1}" if earlier else name

    def _let_pictures_go(self) -> None:
        """The oldest leave where there are too many; what was said with them stays."""
        held = 0
        for item in reversed(list(self._items.values())):
            held += sum(len(image.jpeg()) for image in item.message.images)
            if held > MOST_PICTURE_BYTES and item.message.images:
                log.warning("the pictures of the item %s are not told any more: there are too many", item.name)
                self._change(item, msgspec.structs.replace(item.message, images=()))

    def remove(self, name: str) -> bool:
        """Whether there was such an item."""
        item = self._items.pop(name, None)
        if item is not None:
            self._leave(item)
        return item is not None

    def take_typed(self) -> Message | None:
        """Takes the newest item out, when it is one of the person's: it becomes an utterance of its own."""
        name, item = next(reversed(self._items.items()), ("", None))
        if item is None or item.message.role != "user" or name.startswith(ITS_OWN):
            return None
        return self._items.pop(name).message

    def news(self) -> Iterator[tuple[int, ConversationItem]]:
        """What changed since it was asked for the last time, each with a version greater than all before."""
        left, self._left = self._left, []
        for item in (*left, *self._items.values()):
            if item.changed:
                item.changed = False
                self._version += 1
                yield self._version, item
