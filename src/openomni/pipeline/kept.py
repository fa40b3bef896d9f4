"""What is kept of a session: its own record, each turn's as it was decided and as it ended, each item of the talk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import msgspec

from .. import records
from ..bounds import MAX_LINE, MAX_NAME, MAX_POSITION
from ..events import ToolCall
from ..records import AnyRecord, FrameRecord, ItemRecord, Origin, PlacedRecording, SessionRecord, TurnRecord
from .account import Account, Provenance
from .conversation import Conversation, ConversationItem, of_reply, of_user
from .spec import Pipeline

if TYPE_CHECKING:
    from ..bus.sessions import OpenSession

_TURN_TAKING = (
    "turn_detection", "interrupt_response", "create_response", "silence", "threshold", "padding", "semantic",
)  # fmt: skip


def provenance(opened: OpenSession) -> Provenance:
    """What its turns take from how a session was opened."""
    origin = opened.origin
    if origin not in get_args(Origin):
        origin = "replay" if opened.source.startswith("file:") else "person"
    return Provenance(cast(Origin, origin), opened.participant[:MAX_NAME], opened.cell)


class Kept:
    """Of one session. `write` takes a record and returns at once."""

    def __init__(self, opened: OpenSession, pipeline: Pipeline, write: Callable[[AnyRecord], None]) -> None:
        self._opened, self._pipeline, self._write = opened, pipeline, write
        self._version = records.later_version() if opened.settings.get("resumed") else 1
        self._started_at = time.time()
        self._held: dict[str, TurnRecord] = {}
        self._known: dict[str, bytes] = {}
        """What is kept of each turn, as a digest: saying the same again is no news."""

    def session(self, status: Literal["open", "closed", "lost"]) -> None:
        opened = self._opened
        self._write(
            SessionRecord(
                project=opened.project,
                version=self._version + (status != "open"),
                session_id=opened.session_id,
                pipeline=self._pipeline.name,
                pipeline_hash=self._pipeline.hash,
                spec=self._pipeline.normalised(),
                device=opened.device,
                site=opened.site,
                made_by=opened.made_by,
                source=opened.source,
                status=status,
                started_at=self._started_at,
                ended_at=None if status == "open" else time.time(),
                recordings=[opened.recording] if opened.recording else [],
                tracks=[PlacedRecording(opened.recording, opened.position)] if opened.recording else [],
                origin=provenance(opened).origin,
                participant=opened.participant[:MAX_NAME],
                consent=opened.consent[:MAX_NAME],
                context=opened.context[:MAX_LINE],
                turn_taking={name: opened.settings[name] for name in _TURN_TAKING if name in opened.settings},
            )
        )

    # ---- turns ----

    def hold(self, record: TurnRecord) -> None:
        """The newest of a turn that is over, until it is known how it was heard."""
        self._held[record.turn_id] = record

    def settle(self, turn_id: str) -> None:
        """Nothing more will be known of it."""
        record = self._held.pop(turn_id, None)
        if record is not None:
            self.turn(record)

    def settle_all(self) -> None:
        for turn_id in list(self._held):
            self.settle(turn_id)

    def turn(self, record: TurnRecord) -> None:
        digest = hashlib.sha256(records.encode(msgspec.structs.replace(record, version=0))).digest()
        if self._known.get(record.turn_id) != digest:
            self._known[record.turn_id] = digest
            self._write(record)

    # ---- items ----

    def items(self, conversation: Conversation, account: Account | None = None) -> None:
        """What is new of the conversation; `account`: of the turn that two of its items may be of."""
        for version, item in conversation.news():
            self._write(self._item(version, item, account))

    def _item(self, version: int, item: ConversationItem, account: Account | None) -> ItemRecord:
        message = item.message
        record = ItemRecord(
            project=self._opened.project,
            version=version,
            session_id=self._opened.session_id,
            item_id=item.record[:MAX_NAME],
            position=item.position,
            role=message.role,
            content=message.content,
            tool_calls=[_call(call) for call in message.tool_calls],
            call_id=message.call_id,
            gone=item.gone,
            pictures=[FrameRecord(hashlib.sha256(each.jpeg()).hexdigest()) for each in message.images],
        )
        turn_id = item.name.partition(":")[2]
        if item.name not in (of_user(turn_id), of_reply(turn_id)):
            return record
        record.turn_id = turn_id
        if account is None or account.turn.turn_id != turn_id:
            return record
        if item.name == of_reply(turn_id):
            record.recording = account.reply_recording
        elif account.spoken:
            record.recording = account.recording
            record.start, record.end = (min(max(at, 0), MAX_POSITION) for at in (account.start, account.end))
        return record


def _call(call: ToolCall) -> dict[str, Any]:
    return {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
