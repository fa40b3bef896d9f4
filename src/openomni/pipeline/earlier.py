"""What was said before: in the turn before a queued one, or in a session that another host began."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol, Self

import msgspec

from ..events import Message
from ..records import TurnRecord
from .conversation import of_reply, of_user


class EarlierTurn(Protocol):
    """A turn, as far as it matters to the next one."""

    @property
    def turn_id(self) -> str: ...
    @property
    def transcript(self) -> str: ...
    @property
    def reply_text(self) -> str: ...


class History(NamedTuple):
    """What a language model is told was said, and the names of these items."""

    messages: Sequence[Message] = ()
    items: Sequence[str] = ()

    def then(self, record: EarlierTurn) -> History:
        """With what was said in the next turn."""
        said = list(said_in(record))
        return History([*self.messages, *(each for _, each in said)], [*self.items, *(name for name, _ in said)])

    def last(self, count: int) -> History:
        return History(self.messages[-count:], self.items[-count:])


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
        history = History()
        for record in ordered:
            history = history.then(msgspec.structs.replace(record, reply_text=_heard(record)))
        return cls(ordered[-1].index + 1 if ordered else 0, *history)


NOTHING_EARLIER = Earlier()


def _heard(record: TurnRecord) -> str:
    """Of a reply that was interrupted, the words that were heard, as its items were told and kept."""
    heard = (stage.output["heard"] for stage in record.stages if record.interrupted and "heard" in stage.output)
    return str(next(heard, record.reply_text))


def said_in(record: EarlierTurn) -> Iterable[tuple[str, Message]]:
    """The items of a turn, each after its name."""
    if record.transcript.strip():
        yield of_user(record.turn_id), Message("user", record.transcript)
        if record.reply_text.strip():
            yield of_reply(record.turn_id), Message("assistant", record.reply_text.strip())
