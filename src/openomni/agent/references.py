"""What work names and does not carry: its pipeline, by hash, and what was said before, by the turn before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from ..errors import OpenOmniError
from ..pipeline import spec
from ..pipeline.earlier import History
from ..pipeline.spec import Pipeline
from ..records import ItemRecord, TurnRecord
from ..storage.api import Api, Unreachable

T = TypeVar("T")
PIPELINES, TURNS = 64, 512
"""How many are remembered."""
PAGE = 200


class _Said(msgspec.Struct):
    """A turn as the API gives it, of which only this counts here."""

    turn_id: str
    index: int
    transcript: str = ""
    reply_text: str = ""


class _Recorded(msgspec.Struct):
    """A recording, of which only this counts here."""

    recording_id: str
    sha256: str = ""


class _Page(msgspec.Struct):
    items: list[dict[str, Any]]
    next: str | None = None


class References:
    """Asks the API once for each, with a patience of its own."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._pipelines: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._said: OrderedDict[str, History] = OrderedDict()

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

    async def history(self, session_id: str, after: str) -> History:
        """What was said up to and with the turn `after`; nothing where that is empty. Raises OpenOmniError when the
        server does not have that turn."""
        if after and after not in self._said:
            history = History()
            for turn in await self.turns(session_id):
                history = history.then(turn)
                if turn.turn_id == after:
                    _keep(self._said, after, history, TURNS)
                    break
            else:
                raise OpenOmniError(
                    f"{self._api.server} has no turn {after} in session {session_id}, which comes before"
                )
        return self._said[after] if after else History()

    def remember(self, record: TurnRecord, before: History) -> None:
        """What was said with this turn, for the next of its session."""
        _keep(self._said, record.turn_id, before.then(record), TURNS)

    async def turn(self, turn_id: str) -> TurnRecord:
        """As it is known now. Raises Refused for one that the server does not have, Unreachable."""
        return await self._read(f"/turns/{quote(turn_id, safe='')}", TurnRecord)

    async def items(self, session_id: str) -> list[ItemRecord]:
        """Of a conversation, those that are gone included."""
        return await self._read(f"/sessions/{quote(session_id, safe='')}/items", list[ItemRecord])

    async def pictures(self, session_id: str, wanted: Container[str]) -> list[str]:
        """Ids of recordings that may have pictures of a session: those that its client put into the conversation, as
        far as their SHA-256 is `wanted`, and all of its videos."""
        put_in = await self._recordings(session_id, "picture")
        films = await self._recordings(session_id, "video")
        return [each.recording_id for each in put_in if each.sha256 in wanted] + [each.recording_id for each in films]

    async def _recordings(self, session_id: str, kind: str) -> list[_Recorded]:
        return await self._listed("/recordings", _Recorded, {"session": session_id, "kind": kind})

    async def _read(self, path: str, kind: type[T]) -> T:
        answer = await self._api.get(path)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise Unreachable(f"{self._api.server} answers {path} as another version does: {error}") from None

    async def turns(self, session_id: str) -> list[_Said]:
        """What was said in a session, oldest first."""
        return sorted(await self._listed("/turns", _Said, {"session": session_id}), key=lambda turn: turn.index)

    async def _listed(self, path: str, struct: type[T], wanted: dict[str, str]) -> list[T]:
        """All of it, however many pages it takes."""
        found: list[T] = []
        further: dict[str, str] = {}
        while True:
            answer = await self._api.get(path, limit=PAGE, **wanted, **further)
            try:
                page = msgspec.convert(answer, _Page)
                found += msgspec.convert(page.items, list[struct])  # type: ignore[valid-type]
            except msgspec.ValidationError as error:
                raise Unreachable(f"{self._api.server} lists {path} as another version does: {error}") from None
            if not page.next:
                return found
            further = {"cursor": page.next}


def _keep(kept: OrderedDict[str, Any], key: str, value: Any, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
