"""What work names and does not carry: its pipeline, by hash, and what was said before, by the turn before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from ..errors import OpenOmniError
from ..events import Message
from ..pipeline import spec
from ..pipeline.earlier import spoken_history
from ..pipeline.spec import Pipeline
from ..records import TurnRecord
from ..storage.api import Api, Unreachable

PIPELINES, TURNS = 64, 512
"""How many are remembered."""
PAGE = 200


class _Said(msgspec.Struct):
    """A turn as the API gives it, of which only this counts here."""

    turn_id: str
    index: int
    transcript: str = ""
    reply_text: str = ""


class _Page(msgspec.Struct):
    items: list[_Said]
    next: str | None = None


class References:
    """Asks the API once for each, with a patience of its own."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._pipelines: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._said: OrderedDict[str, Sequence[Message]] = OrderedDict()

    async def pipeline(self, spec_hash: str, name: str) -> Pipeline:
        """Raises Refused for a hash that the server does not have, Unreachable."""
        if spec_hash not in self._pipelines:
            answer = await self._api.get(f"/pipelines/versions/{quote(spec_hash, safe='')}")
            if not isinstance(answer, dict) or not isinstance(answer.get("spec"), dict):
                raise Unreachable(
                    f"{self._api.server} gives no spec for the pipeline {name}; is it an OpenOmni server?"
                )
            _keep(self._pipelines, spec_hash, answer["spec"], PIPELINES)
        return spec.parse(self._pipelines[spec_hash], name)

    async def history(self, session_id: str, after: str) -> Sequence[Message]:
        """What was said up to and with the turn `after`; nothing where that is empty. Raises OpenOmniError when the
        server does not have that turn."""
        if after and after not in self._said:
            turns = sorted(await self._turns(session_id), key=lambda turn: turn.index)
            history: Sequence[Message] = ()
            for turn in turns:
                history = spoken_history(turn, history)
                if turn.turn_id == after:
                    _keep(self._said, after, history, TURNS)
                    break
            else:
                raise OpenOmniError(
                    f"{self._api.server} has no turn {after} in session {session_id}, which comes before"
                )
        return self._said[after] if after else ()

    def remember(self, record: TurnRecord, before: Sequence[Message]) -> None:
        """What was said with this turn, for the next of its session."""
        _keep(self._said, record.turn_id, spoken_history(record, before), TURNS)

    async def _turns(self, session_id: str) -> list[_Said]:
        turns: list[_Said] = []
        further: dict[str, str] = {}
        while True:
            answer = await self._api.get("/turns", session=session_id, limit=PAGE, **further)
            try:
                page = msgspec.convert(answer, _Page)
            except msgspec.ValidationError as error:
                raise Unreachable(f"{self._api.server} lists turns as another version does: {error}") from None
            turns += page.items
            if not page.next:
                return turns
            further = {"cursor": page.next}


def _keep(kept: OrderedDict[str, Any], key: str, value: Any, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
