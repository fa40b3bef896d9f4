"""What a turn had when it was run: its sound, the conversation and the pictures that its models got, from its record
and what that refers to, so that it can be run again just so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..bus.work import TurnWork
from ..errors import OpenOmniError
from ..events import Message, Tool, ToolCall
from ..media import Frame
from ..pipeline.again import believed, is_silent, outputs
from ..pipeline.conversation import of_user
from ..pipeline.earlier import History, said_in
from ..pipeline.spec import Pipeline
from ..pipeline.utterance import Utterance
from ..records import AskedRecord, FrameRecord, ItemRecord, TurnRecord
from .recordings import Recordings
from .references import References


class Known(NamedTuple):
    """What a queued turn begins with. `believed`: the transcript, where the recogniser no more than guesses it."""

    utterance: Utterance
    history: History = History()
    believed: str = ""


class Again:
    def __init__(self, references: References, recordings: Recordings) -> None:
        self._references, self._recordings = references, recordings

    async def known(self, turn: TurnWork, pipeline: Pipeline) -> Known:
        """Raises OpenOmniError, with the reason, where something of it is not there (any more)."""
        record = await self._references.turn(turn.reruns)
        asked = record.asked or AskedRecord()
        given = outputs(record, pipeline, turn.begin, turn.given)
        items = await self._items(record)
        seen = await self._seen(record, items)
        history = History([_message(each, seen) for each in items], [each.item_id for each in items])
        utterance = Utterance(
            frames=[seen[each.sha256] for each in record.frames if each.recording],
            images=[seen[each.sha256] for each in _put_in(record, items)],
            history=history.messages,
            items=history.items,
            instructions=asked.instructions,
            tools=[Tool(each["name"], each.get("description", ""), each.get("parameters", {})) for each in asked.tools],
            tool_choice=asked.tool_choice,
            text_only=asked.text_only,
            voice=asked.voice,
            language=asked.language,
            speaks_first=asked.speaks_first,
            given=given.values,
            given_as=given.sources,
            clauses=given.clauses,
        )
        if turn.recording:
            utterance.audio = await self._recordings.sound(
                turn.recording, turn.start, turn.end, turn.track, turn.channel
            )
            if not record.frames and any(stage.framework.frames for stage in pipeline.stages):
                # The pipeline is another one than then, which saw nothing.
                utterance.frames = await self._recordings.pictures(turn.recording, turn.start, turn.end)
        elif is_silent(record) and not asked.speaks_first:
            utterance.text = record.transcript
        return Known(utterance, history, believed(record))

    async def _items(self, record: TurnRecord) -> list[ItemRecord]:
        """Those that its language model got before its own utterance. A turn that is a rerun itself was told those of
        the session in which it was said."""
        names = [name for name in record.items if name != of_user(record.turn_id)]
        found: dict[str, ItemRecord] = {}
        where: TurnRecord | None = record
        while where is not None and not found.keys() >= set(names):
            kept = await self._references.items(where.session_id)
            found = {each.item_id: each for each in kept or await self._said(where)} | found
            where = await self._references.turn(where.reruns) if where.reruns else None
        if missing := [name for name in names if name not in found]:
            raise OpenOmniError(
                f"{len(missing)} of the {len(names)} items that turn {record.turn_id} was told are not on the server, "
                f"such as {missing[0]}; they may be on their way yet, or erased"
            )
        return [found[name] for name in names]

    async def _said(self, record: TurnRecord) -> Iterable[ItemRecord]:
        """A queued session keeps no items: its turns hold them."""
        said = (item for turn in await self._references.turns(record.session_id) for item in said_in(turn))
        return [
            ItemRecord(
                project=record.project, session_id=record.session_id, item_id=name, position=position,
                role=message.role, content=message.content,
            )
            for position, (name, message) in enumerate(said)
        ]  # fmt: skip

    async def _seen(self, record: TurnRecord, items: Sequence[ItemRecord]) -> dict[str, Frame]:
        """Its pictures by their hash, the very bytes where they are kept."""
        wanted = {each.sha256: each for each in (*record.frames, *(each for item in items for each in item.pictures))}
        found: dict[str, Frame] = {}
        root = record
        while wanted and root.reruns:
            root = await self._references.turn(root.reruns)
        places = [each.recording for each in wanted.values() if each.recording]
        if wanted:
            places += await self._references.pictures(root.session_id, wanted)
        for place in dict.fromkeys(places):
            if missing := [each for each in wanted.values() if each.sha256 not in found]:
                found |= await self._recordings.shown(place, missing)
        if missing := [each for each in wanted.values() if each.sha256 not in found]:
            whose = "its camera saw" if missing[0].recording else "its client put into the conversation"
            raise OpenOmniError(
                f"turn {record.turn_id} was shown {len(missing)} pictures that {whose} and that are not kept on the "
                "server; without them it would be another turn"
            )
        return found


def _put_in(record: TurnRecord, items: Sequence[ItemRecord]) -> list[FrameRecord]:
    """The pictures of its own message."""
    told = {each.sha256 for item in items for each in item.pictures}
    return [each for each in record.frames if not each.recording and each.sha256 not in told]


def _message(item: ItemRecord, seen: dict[str, Frame]) -> Message:
    calls = tuple(ToolCall(call["call_id"], call["name"], call["arguments"]) for call in item.tool_calls)
    pictures = tuple(seen[each.sha256] for each in item.pictures)
    return Message(item.role, item.content, pictures, calls, item.call_id)
