"""Recording for clients without a spool of their own (a browser, an SDK): what they say is on our disk first, then
uploaded with their own token until the API has acknowledged it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..records import AnyRecord, RecordingRecord
from ..storage.api import Api
from ..storage.spool import Recording, Spool, new_recording, wav_header
from ..storage.upload import Uploader

log = logging.getLogger(__name__)

FLUSH_EVERY = 0.25
"""Seconds of sound that wait in memory for the disk."""
MAX_GAP = 60 * AXIS_RATE
"""Samples of silence that fill a hole in what a client sent; a longer hole is cut short."""
MAX_WAITING = 64 << 20
"""Bytes that may wait for a slow disk; what comes then is not recorded, and the log says so."""


class Recorder:
    """Keeps a spool in `folder` and uploads from it to the API at `url`. Use `close` at the end: what is not
    acknowledged by then stays, and goes up when its token comes in again."""

    def __init__(self, folder: Path, url: str, publish: Callable[[AnyRecord], None]) -> None:
        self._folder, self._url, self._publish = folder, url, publish
        self._uploads: dict[str, _Upload] = {}

    def begin(self, token: str, *, project: str, session_id: str, device: str, source: str) -> Tape:
        """A recording of one session, that grows. Raises OpenOmniError when the disk does not take it."""
        meta = new_recording("audio", "audio/wav", rate=AXIS_RATE, session_id=session_id, source=source)
        upload = self._upload(token)
        recording = upload.spool.record(meta, ".wav")
        try:
            recording.append(wav_header(AXIS_RATE))
        except OpenOmniError:
            recording.release()
            raise
        upload.add(recording)
        about = RecordingRecord(
            project=project, recording_id=recording.id, kind="audio", session_id=session_id, device=device,
            rate=AXIS_RATE, started_at=meta.started_at,
        )  # fmt: skip
        return Tape(recording, about, self._publish)

    def _upload(self, token: str) -> _Upload:
        for known, upload in list(self._uploads.items()):
            if known != token and not upload.uploader.recordings:
                upload.close_soon()
                del self._uploads[known]
        if token not in self._uploads:
            self._uploads[token] = _Upload(self._folder, self._url, token)
        return self._uploads[token]

    async def close(self) -> None:
        for upload in self._uploads.values():
            await upload.close()
        self._uploads.clear()


class _Upload:
    """The uploads made with one token, those that an earlier run left included."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self._api = Api(url, token)
        self.uploader = Uploader(self._api)
        self.spool = Spool(folder, self._api.server, token)
        for recording in self.spool.waiting():
            self.add(recording)
        self._closing: asyncio.Task[None] | None = None

    def add(self, recording: Recording) -> None:
        self.uploader.add(recording).add_done_callback(_log_refusal)

    def close_soon(self) -> None:
        self._closing = asyncio.create_task(self.close())

    async def close(self) -> None:
        await self.uploader.__aexit__(None, None, None)
        await self._api.close()


def _log_refusal(upload: asyncio.Task[OpenOmniError | None]) -> None:
    if not upload.cancelled() and (refusal := upload.result()) is not None:
        log.error("a recording stays in the spool: %s", refusal)


class Tape:
    """The recording of one session: PCM16 at 16 kHz, written beside the event loop."""

    def __init__(self, recording: Recording, about: RecordingRecord, publish: Callable[[AnyRecord], None]) -> None:
        self.id = recording.id
        self._recording, self._about, self._publish = recording, about, publish
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._next: int | None = None
        self._samples = 0
        self._failed = False
        self._writer = asyncio.create_task(self._write(), name=f"recording {recording.id}")
        publish(about)

    def add(self, position: int, pcm: bytes) -> None:
        """Sound from `position` on. A hole is filled with silence; what was there already is left out."""
        if self._failed:
            return
        start = position if self._next is None else self._next
        gap = min(position - start, MAX_GAP)
        if gap > 0:
            self._keep(bytes(2 * gap))
        pcm = pcm[2 * max(start - position, 0) :]
        self._keep(pcm)
        self._next = max(position, start) + len(pcm) // 2

    def _keep(self, pcm: bytes) -> None:
        if self._bytes + len(pcm) > MAX_WAITING:
            self._fail("the disk is too slow")
            return
        self._waiting.append(pcm)
        self._bytes += len(pcm)
        self._samples += len(pcm) // 2

    async def end(self) -> None:
        """Writes the rest. The upload goes on by itself."""
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer
        await self._flush()
        try:
            await asyncio.to_thread(self._recording.end)
        except OSError as error:
            self._fail(str(error))
        self._about.version, self._about.samples = 2, self._samples
        self._publish(self._about)

    async def _write(self) -> None:
        while not self._failed:
            await asyncio.sleep(FLUSH_EVERY)
            # Shielded: a write that was begun is finished, and its order kept, when the session ends meanwhile.
            flush = asyncio.ensure_future(self._flush())
            try:
                await asyncio.shield(flush)
            except asyncio.CancelledError:
                await flush
                raise

    async def _flush(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting or self._failed:
            return
        try:
            await asyncio.to_thread(self._recording.append, b"".join(waiting))
        except OpenOmniError as error:
            self._fail(str(error))

    def _fail(self, reason: str) -> None:
        self._failed = True
        self._waiting.clear()
        log.error("recording %s of session %s stops here: %s", self.id, self._about.session_id, reason)
