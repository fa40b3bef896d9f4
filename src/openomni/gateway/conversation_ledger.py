"""What one client knows of its conversation: the turns that it was told of, what it asked and waits for, and the items.

A turn has three names on the wire, all made from its id: the user's item, the response, and the assistant's item.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .protocol import Json
from .realtime_settings import RealtimeSettings

if TYPE_CHECKING:
    import soxr

KEPT_ITEMS = 4000
KEPT_TURNS = 64
"""Turns that are remembered; older ones that never ended are forgotten."""


@dataclass(slots=True)
class ToldTurn:
    """What was told of one turn so far."""

    turn_id: str
    item_id: str
    start: int = 0
    end: int = 0
    user_item: bool = False
    """The user's item was announced."""
    heard: str = ""
    text: str = ""
    response: Literal["", "created", "speaking", "done"] = ""
    cancelled: bool = False
    resampler: soxr.ResampleStream | None = None
    sent: float = 0.0
    """Seconds of the reply's sound that were passed on."""
    whole: bool = False
    """The reply ended by itself."""
    over: bool = False
    """The turn was recorded: nothing is awaited of it."""
    asked: bool = False
    """Somebody wants an answer."""
    text_only: bool = False
    metadata: Json | None = None
    """What the client wrote on its request."""
    calls: list[Json] = field(default_factory=list)
    """The tools that the reply asks for, as items."""

    @property
    def awaited(self) -> bool:
        """Whether more of its reply is to come."""
        decided = bool(self.end or self.response)
        return decided and self.asked and self.response != "done" and not (self.over or self.cancelled)

    @property
    def response_id(self) -> str:
        return f"resp_{self.turn_id}"

    @property
    def reply_item_id(self) -> str:
        return f"msg_{self.turn_id}"

    @property
    def place(self) -> Json:
        return {"response_id": self.response_id, "item_id": self.reply_item_id, "output_index": 0, "content_index": 0}


@dataclass(slots=True)
class AskedResponse:
    """An answer that the client asked for, and whose turn has not begun. `item`: what it typed, which is answered."""

    text_only: bool = False
    metadata: Json | None = None
    item: str | None = None
    cancelled: bool = False


class TurnLedger:
    """The turns of one session, oldest first, and the answers that the client waits for."""

    def __init__(self) -> None:
        self.answers_itself = True
        """An utterance that ended is answered, without anybody asking for it."""
        self.text_only = False
        self._turns: dict[str, ToldTurn] = {}
        self._committed: deque[str] = deque()
        """Utterances that the client ended, whose turns have not begun."""
        self._typed: str | None = None
        self._expected: AskedResponse | None = None
        """The next turn answers it."""
        self._requests: dict[str, AskedResponse] = {}
        """Of which the host says which turn answers them."""

    @property
    def active(self) -> ToldTurn | None:
        """The newest turn whose reply is awaited or under way."""
        return next((turn for turn in reversed(self._turns.values()) if turn.awaited), None)

    @property
    def busy(self) -> bool:
        """An answer is under way, or asked for."""
        return bool(self._expected or self._requests or self.active)

    @property
    def unanswered(self) -> int:
        """Utterances that the client committed, or requests, of which no turn has begun."""
        return len(self._committed) + len(self._requests)

    def follow(self, settings: RealtimeSettings) -> None:
        """What the client set holds for what is told."""
        self.answers_itself, self.text_only = settings.answers_itself, settings.text_only

    def typed(self, item_id: str) -> None:
        """The next answer is to that item."""
        self._typed = item_id

    def committed(self, item_id: str) -> None:
        """The client ended an utterance, which is that item; the next turn that begins is its."""
        self._committed.append(item_id)

    def ask(self, text_only: bool = False, metadata: Json | None = None, request: str | None = None) -> None:
        """The client wants an answer: to the utterance that waits for one, or to what it typed, or to nothing."""
        waiting = [turn for turn in self._turns.values() if turn.end and not turn.asked and not turn.over]
        if waiting:
            waiting[-1].asked, waiting[-1].text_only = True, text_only or self.text_only
            waiting[-1].metadata = metadata
            return
        asked, self._typed = AskedResponse(text_only, metadata, self._typed), None
        if request is None:
            self._expected = asked
        else:
            self._requests[request] = asked

    def host_lost(self) -> None:
        """What was asked of it is not answered by the next one, unless it is asked again."""
        self._expected = None
        self._requests.clear()
        for turn in self._turns.values():
            if turn.response != "done":
                turn.text, turn.asked = "", False  # whoever hears it again says so, and its reply begins anew

    def cancel(self, turn: ToldTurn | None) -> None:
        """The client wants no more of that reply, or of the one that it asked for and that has not begun: what is still
        on its way is not passed on."""
        if turn is not None:
            turn.cancelled = True
        else:
            for asked in (self._expected, *self._requests.values()):
                if asked is not None:
                    asked.cancelled = True

    def answering(self, request: str, turn_id: str) -> None:
        """The host says which turn answers a request."""
        asked = self._requests.pop(request, None) or AskedResponse()
        if turn_id not in self._turns:
            # Nobody spoke: also where another line of the client's had asked, there is nothing to announce.
            self._add(turn_id, asked.item, asked).user_item = True

    def find(self, turn_id: str) -> ToldTurn | None:
        return self._turns.get(turn_id)

    def turn_of_reply(self, item_id: str) -> str | None:
        """The turn that an assistant's item is the reply of."""
        turn = self._turns.get(item_id.removeprefix("msg_"))
        return turn.turn_id if turn is not None and item_id == turn.reply_item_id else None

    def left_to_truncate(self, turn_id: str, seconds: float) -> float | None:
        """How far that reply was heard when a client says `seconds` of it were; None when it was heard whole: then
        nothing was stopped."""
        turn = self._turns[turn_id]
        if seconds < turn.sent:
            return seconds
        return None if turn.whole else turn.sent

    def name_at_host(self, item_id: str) -> str:
        """The host knows what was said in a turn by that turn."""
        for turn in self._turns.values():
            if item_id == turn.reply_item_id:
                return f"reply:{turn.turn_id}"
            if item_id == turn.item_id:
                return f"user:{turn.turn_id}"
        return item_id

    def begin(self, turn_id: str) -> ToldTurn:
        """The turn, which begins with what is told of it first."""
        turn = self._turns.get(turn_id)
        if turn is not None:
            return turn
        asked, made = self._expected, None
        if self._committed:
            made = self._committed.popleft()
            asked = None if self._committed else asked  # the newest utterance is answered
        elif asked is not None:
            made = asked.item
        if asked is not None:
            self._expected = None
        return self._add(turn_id, made, asked)

    def _add(self, turn_id: str, made: str | None, asked: AskedResponse | None) -> ToldTurn:
        """`made`: the item that the client made itself."""
        turn = self._turns[turn_id] = ToldTurn(turn_id, made or f"item_{turn_id}", user_item=made is not None)
        turn.text_only = self.text_only
        if asked is not None:
            turn.asked, turn.cancelled, turn.metadata = True, asked.cancelled, asked.metadata
            turn.text_only = self.text_only or asked.text_only
        while len(self._turns) > KEPT_TURNS:
            del self._turns[next(iter(self._turns))]
        return turn


class ItemLedger:
    """The items of one session as the client may ask for them, the oldest forgotten first."""

    def __init__(self) -> None:
        self.last: str | None = None
        self._items: dict[str, Json] = {}
        self._made: dict[str, int] = {}
        """Bytes of the items that the client made."""

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._items

    def __getitem__(self, item_id: str) -> Json:
        return self._items[item_id]

    @property
    def made_bytes(self) -> int:
        """Of the items that the client made and that are kept."""
        return sum(self._made.values())

    def keep(self, item: Json, made: int = 0) -> None:
        """A new item, or what is known of one by now; `made`: its bytes, where the client made it."""
        self._items[item["id"]] = item
        if made:
            self._made[item["id"]] = made
        while len(self._items) > KEPT_ITEMS:
            self._drop(next(iter(self._items)))

    def forget(self, item_id: str) -> None:
        self._drop(item_id)
        if self.last == item_id:
            self.last = next(reversed(self._items), None)

    def _drop(self, item_id: str) -> None:
        del self._items[item_id]
        self._made.pop(item_id, None)
