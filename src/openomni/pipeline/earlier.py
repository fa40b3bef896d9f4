"""What was said before: in the turn before a queued one, or in a session that another host began."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol, Self

from ..events import Message
from ..records import TurnRecord
from .conversation import of_reply, of_user


class Said(Protocol):
    """A turn, as far as it matters to the next one."""

    @property
    def transcript(self) -> str: ...
    @property
    def reply_text(self) -> str: ...


class Earlier(NamedTuple):
    """What a session that is taken over holds already: how many turns were begun, and what was said in them."""

    turns: int = 0
    history: Sequence[Message] = ()
    items: Sequence[str] = ()
    """The names of the history's items."""

    @classmethod
    def of(cls, records: Iterable[TurnRecord], unfinished: Collection[str] = ()) -> Self:
        """From the records of the session's turns, in any order; those that are `unfinished` are begun anew."""
        known = (record for record in records if record.turn_id not in unfinished)
        ordered = sorted(known, key=lambda record: record.index)
        history: list[Message] = []
        items: list[str] = []
        for record in ordered:
            history = spoken_history(record, history)
            items += [of_user(record.turn_id), of_reply(record.turn_id)][: len(history) - len(items)]
        return cls(ordered[-1].index + 1 if ordered else 0, history, items)


NOTHING_EARLIER = Earlier()


def spoken_history(record: Said, before: Sequence[Message]) -> list[Message]:
    """What the next turn of the session is told was said."""
    said = [*before]
    if record.transcript.strip():
        said.append(Message("user", record.transcript))
        if record.reply_text.strip():
            said.append(Message("assistant", record.reply_text.strip()))
    return said
