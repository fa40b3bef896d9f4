"""Keeps the sound of replies, and pictures that clients put into conversations: onto this machine's disk first, from
there to the server, never in a turn's way."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ..errors import OpenOmniError
from ..storage.api import RecordingMeta
from ..storage.spool import Spool, SpoolRecording, new_recording, wav_header
from ..storage.upload import Uploader

log = logging.getLogger(__name__)

T = TypeVar("T")


class ReplySounds:
    """Where the replies of all sessions and turns go. One thread writes to disk, in order; uploads follow by
    themselves, also of what an earlier process left behind."""

    def __init__(self, spool: Spool, uploader: Uploader) -> None:
        self._spool = spool
        self._uploader = uploader
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="replies")
        self._loop = asyncio.get_running_loop()

    def resume(self) -> None:
        """Uploads what is left from before."""
        for recording in self._spool.waiting(any_token=True):
            self._uploader.add(recording)

    def of(self, session_id: str) -> SpooledReply:
        """Takes one reply of a session."""
        return SpooledReply(self, session_id)

    def pictures_of(self, session_id: str) -> Callable[[bytes], None]:
        """Takes JPEGs of a session, and keeps each once."""
        known: set[str] = set()

        def keep(jpeg: bytes) -> None:
            name = hashlib.sha256(jpeg).hexdigest()
            if name not in known:
                known.add(name)
                self.do(self._keep, new_recording("picture", "image/jpeg", session_id=session_id), jpeg)

        return keep

    async def settle(self) -> None:
        """Returns once all that was said is on disk."""
        await asyncio.wrap_future(self._disk.submit(int))

    def close(self) -> None:
        self._disk.shutdown(wait=True)

    def do(self, act: Callable[..., T], *arguments: Any) -> Future[T]:
        """In the disk's thread, after what was to be done before; what fails otherwise than it may is told."""
        future = self._disk.submit(act, *arguments)
        future.add_done_callback(_tell)
        return future

    # ---- in the disk's thread --------------------------------------------------------------------------------

    def _open(self, meta: RecordingMeta) -> SpoolRecording | None:
        try:
            recording = self._spool.record(meta, ".wav")
            recording.append(wav_header(meta.rate or 0))
        except OpenOmniError as error:
            log.error("the sound of a reply is not kept: %s", error)
            return None
        return recording

    def _keep(self, meta: RecordingMeta, jpeg: bytes) -> None:
        try:
            recording = self._spool.record(meta, ".jpg")
            recording.append(jpeg)
        except OpenOmniError as error:
            log.error("a picture of session %s is not kept: %s", meta.session_id, error)
            return
        recording.end()
        self._loop.call_soon_threadsafe(self._uploader.add, recording)

    def _append(self, opening: Future[SpoolRecording | None], pcm: bytes) -> None:
        recording = opening.result()
        try:
            if recording is not None:
                recording.append(pcm)
        except OpenOmniError as error:
            log.error("the sound of a reply is cut short: %s", error)

    def _end(self, opening: Future[SpoolRecording | None]) -> None:
        recording = opening.result()
        if recording is not None:
            recording.end()
            self._loop.call_soon_threadsafe(self._uploader.add, recording)


class SpooledReply:
    """One reply, written as it is spoken: `begin`, `write`…, `end`. None of them waits for the disk."""

    def __init__(self, replies: ReplySounds, session_id: str) -> None:
        self._replies = replies
        self._session_id = session_id
        self._opening: Future[SpoolRecording | None] | None = None

    def begin(self, turn_id: str, recording_id: str, rate: int) -> None:
        meta = RecordingMeta(
            recording_id=recording_id,
            kind="reply",
            media_type="audio/wav",
            rate=rate,
            started_at=time.time(),
            session_id=self._session_id,
            turn_id=turn_id,
        )
        self._opening = self._replies.do(self._replies._open, meta)

    def write(self, pcm: bytes) -> None:
        if self._opening is not None:
            self._replies.do(self._replies._append, self._opening, pcm)

    def end(self) -> None:
        if self._opening is not None:
            self._replies.do(self._replies._end, self._opening)
            self._opening = None


def _tell(done: Future[Any]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.error("a reply is not kept whole", exc_info=error)
