"""The fast pace: the recording is uploaded and its turns are queued; agents do them when they can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import clock
from ...errors import OpenOmniError
from ...storage.api import Api, Faulty, NoRoom, Refused, delays
from ...storage.spool import SpoolRecording
from ...storage.upload import Uploader
from ..replies import ReplyFolder
from .listener import Told, Turn

_FINAL = {"completed", "failed", "cancelled", "superseded"}
_SESSION_OVER = {"closed", "lost"}
SETTLED_S = 3.0
REPLY_PATIENCE_S = 30.0
"""How long the sound of a reply may come after the end of its turn: agents upload it beside their work."""


@dataclass
class Replay:
    """One recording of one session on its way through the work queue."""

    api: Api
    recording: SpoolRecording
    session_id: str
    pipeline: str
    participant: str = ""
    context: str = ""

    async def upload(self, uploader: Uploader) -> None:
        """Until the server acknowledged it, however long that is away. Raises OpenOmniError when it is refused, or the
        server is full or at fault; then it stays in the spool."""
        task = uploader.add(self.recording)
        while not task.done():
            await asyncio.wait([task], timeout=0.25)
            if isinstance(uploader.trouble, (NoRoom, Faulty)):
                raise OpenOmniError(f"{uploader.trouble}; the recording is kept: openomni listen --resume-uploads")
        if refusal := task.result():
            raise refusal

    async def queue(self, spans: Sequence[tuple[float, float]] | None, wait_for_agent: bool) -> None:
        """Queues a turn for each span (seconds), or, without spans, for each utterance that an agent finds."""
        await self.api.post("/turns/queue", {
            "session_id": self.session_id, "pipeline": self.pipeline, "recording_id": self.recording.id,
            "spans": spans, "wait": wait_for_agent, "participant": self.participant, "context": self.context,
        })  # fmt: skip

    async def follow(self, expected: int | None, told: Told, replies: Path) -> list[Turn]:
        """Polls until all turns are final, and fetches their replies. `expected` None: the agent that finds the
        utterances has queued them all once nothing new came for `SETTLED_S`, or the session is over."""
        shown: dict[str, Turn] = {}
        waits, settled = delays(0.2, 2.0), clock.now()
        while True:
            over = expected is None and await self._session_over()
            turns = await self._turns()
            fresh = [turn for turn in turns if turn["status"] in _FINAL and turn["turn_id"] not in shown]
            for turn in sorted(fresh, key=_index):
                shown[turn["turn_id"]] = turn = await self._with_reply(turn, replies, told)
                if turn["status"] != "superseded":
                    told.turn(turn)
            if fresh or len(shown) < len(turns) or not turns:
                settled = clock.now()
            over = over or (expected is None and clock.now() - settled > SETTLED_S)
            if over or (expected is not None and len(shown) >= expected):
                return sorted((turn for turn in shown.values() if turn["status"] != "superseded"), key=_index)
            await asyncio.sleep(next(waits))

    async def _turns(self) -> list[Turn]:
        turns: list[Turn] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"session": self.session_id} | ({"cursor": cursor} if cursor else {})
            page = await self.api.get("/turns", **query)
            turns += page["items"]
            cursor = page.get("next") or None
        return turns

    async def _session_over(self) -> bool:
        session = await self.api.get(f"/sessions/{self.session_id}")
        return session.get("status") in _SESSION_OVER

    async def _with_reply(self, turn: Turn, replies: Path, told: Told) -> Turn:
        reply_id = turn.get("reply_audio")
        if not reply_id:
            return {**turn, "reply_audio": ""}
        if not await self._whole(reply_id):
            told.notice(f"the reply to turn {turn['index'] + 1} is with its agent still; later it is on the server, "
                        f"as recording {reply_id}")  # fmt: skip
            return {**turn, "reply_audio": ""}
        path = await self.api.download(reply_id, ReplyFolder(replies).path(turn["turn_id"]))
        return {**turn, "reply_audio": str(path)}

    async def _whole(self, recording_id: str) -> bool:
        """Whether all of it is on the server, within `REPLY_PATIENCE_S`."""
        deadline = clock.now() + REPLY_PATIENCE_S
        for wait in delays(0.1, 1.0):
            try:
                if (await self.api.get(f"/recordings/{recording_id}"))["status"] == "complete":
                    return True
            except Refused as refused:
                if refused.status != 404:
                    raise
            if clock.now() > deadline:
                break
            await asyncio.sleep(wait)
        return False


def _index(turn: Turn) -> int:
    return int(turn.get("index", 0))
