"""What a client may send again after a break of its line, for it can't know whether it had got through."""

from __future__ import annotations

from typing import Literal

ONCE = 64
"""Newest items and requests that are known when they come again."""


class Seen:
    """The newest items and requests of one session."""

    def __init__(self) -> None:
        self._turns: dict[tuple[Literal["item", "request"], str], str] = {}

    def is_new(self, item_id: str) -> bool:
        """Whether that item did not come before; from now on it did."""
        new = ("item", item_id) not in self._turns
        if new:
            self._keep("item", item_id, "")
        return new

    def forget(self, item_id: str) -> None:
        """It left the conversation, and may be put there again."""
        self._turns.pop(("item", item_id), None)

    def turn_of(self, request_id: str | None) -> str | None:
        """The turn that answers that request; None for one that is new, or has no name."""
        return None if request_id is None else self._turns.get(("request", request_id))

    def answers(self, request_id: str, turn_id: str) -> None:
        self._keep("request", request_id, turn_id)

    def _keep(self, kind: Literal["item", "request"], name: str, turn_id: str) -> None:
        self._turns[kind, name] = turn_id
        if len(self._turns) > ONCE:
            del self._turns[next(iter(self._turns))]
