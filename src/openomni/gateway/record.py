"""Recording for clients without a spool of their own (a browser, an SDK): what they say and show is on our disk first,
then uploaded until the API has acknowledged it.

The gateway uploads as a part of the server, not with the client's token: that may have expired by then, and what a
gateway that was killed left behind goes up at the next start, whether or not its client ever comes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..records import AnyRecord, RecordingRecord
from ..storage.api import Api, RecordingMeta
from ..storage.spool import Recording, Spool, new_recording, wav_header
from ..storage.upload import Uploader
from .beside import Beside
from .film import Film
from .sound import Axis

log = logging.getLogger(__name__)

FLUSH_EVERY = 0.25
"""Seconds of sound that wait in memory for the disk."""
MAX_WAITING = 64 << 20
"""Bytes that may wait for a slow disk; what comes then is not recorded, and the log says so."""
_SILENCE = memoryview(bytes(1 << 20))


class Recorder:
    """Keeps a spool in `folder` and uploads from it to the API at `url`, also what an earlier run left there. Use it as
    a context: what is not acknowledged at its end stays for the next start. The disk is waited for beside the event
    loop."""

    def __init__(self, folder: Path, url: str, secret: str, publish: Callable[[AnyRecord], None]) -> None:
        self._url, self._secret, self._publish = url, secret, publish
        self._spool = Spool(folder)
        self._uploads: dict[str, tuple[Api, Uploader]] = {}

    async def __aenter__(self) -> Recorder:
        # The API's address may be another one than before: the folder is this server's, whatever its port.
        for recording in await asyncio.to_thread(self._spool.waiting, any_token=True, any_server=True):
            if recording.ticket.project:
                self._upload(recording)
            else:
                log.warning("%s is of an earlier version and not uploaded; whose it is isn't known", recording.path)
                recording.release()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for api, uploader in self._uploads.values():
            await uploader.__aexit__(None, None, None)
            await api.close()
        self._uploads.clear()

    async def begin(self, *, project: str, session_id: str, site: str, device: str, source: str) -> Tape:
        """A recording of one session, that grows. Raises OpenOmniError when the disk does not take it."""
        meta = new_recording("audio", "audio/wav", rate=AXIS_RATE, session_id=session_id, source=source)
        meta.site, meta.device = site, device
        recording = await self._open(meta, ".wav", project, wav_header(AXIS_RATE))
        return Tape(recording, _about(meta, project), self._publish, lambda: self._film(recording))

    def _film(self, sound: Recording) -> Film:
        """The pictures that go with that sound."""
        heard = sound.ticket.meta
        meta = new_recording("video", "video/x-matroska", session_id=heard.session_id, source=heard.source)
        meta.site, meta.device = heard.site, heard.device
        return Film(
            lambda: self._open(meta, ".mkv", sound.ticket.project), _about(meta, sound.ticket.project), self._publish
        )

    async def _open(self, meta: RecordingMeta, suffix: str, project: str, head: bytes = b"") -> Recording:
        recording = await asyncio.to_thread(_begun, self._spool, meta, suffix, project, head)
        self._upload(recording)
        return recording

    def _upload(self, recording: Recording) -> None:
        project = recording.ticket.project
        if project not in self._uploads:
            api = Api(self._url, self._secret, project)
            self._uploads[project] = api, Uploader(api)
        self._uploads[project][1].add(recording).add_done_callback(_log_refusal)


def _begun(spool: Spool, meta: RecordingMeta, suffix: str, project: str, head: bytes) -> Recording:
    recording = spool.record(meta, suffix, project)
    try:
        recording.append(head)
    except OpenOmniError:
        recording.release()
        raise
    return recording


def _about(meta: RecordingMeta, project: str) -> RecordingRecord:
    return RecordingRecord(
        project=project, recording_id=meta.recording_id, kind=meta.kind, session_id=meta.session_id,
        device=meta.device, rate=meta.rate, started_at=meta.started_at,
    )  # fmt: skip


def _log_refusal(upload: asyncio.Task[OpenOmniError | None]) -> None:
    if not upload.cancelled() and (refusal := upload.result()) is not None:
        log.error("a recording stays in the spool: %s", refusal)


class Tape:
    """The recording of one session: PCM16 at 16 kHz, written beside the event loop, and a film where it has pictures.
    It outlives the connection that it began with; whoever holds it last calls `end`."""

    def __init__(
        self, recording: Recording, about: RecordingRecord, publish: Callable[[AnyRecord], None],
        film: Callable[[], Film],
    ) -> None:  # fmt: skip
        self.id = recording.id
        self._recording, self._about, self._publish = recording, about, publish
        self._begin_film = film
        self._film: Film | None = None
        self._axis = Axis()
        """Of the file: its silence is bounded like that of the session's."""
        self._waiting: list[bytes | memoryview] = []
        self._bytes = 0
        self._next: int | None = None
        self._failed = False
        self._writer = Beside(self._flush, FLUSH_EVERY, f"writing recording {recording.id}")
        publish(about)

    def add(self, position: int, pcm: bytes) -> None:
        """Sound from `position` on. A hole is filled with silence; what was there already is left out."""
        if self._failed:
            return
        if self._next is None:
            self._axis.take(0, 0)
            self._next = self._about.position = position
            self._tell()
        start = self._next
        hole = min(max(position - start, 0), self._axis.limit - self._axis.end)
        pcm = pcm[2 * max(start - position, 0) :]
        self._axis.take(self._axis.end + hole, len(pcm) // 2)
        self._hush(hole)
        self._keep(pcm)
        self._next = max(position, start) + len(pcm) // 2

    def see(self, position: int, jpeg: bytes) -> None:
        """A picture that was seen at `position`."""
        if self._film is None:
            self._film = self._begin_film()
        self._film.add(position, jpeg)

    def _hush(self, samples: int) -> None:
        left = 2 * samples
        while left > 0:
            # Views of one silence: an hour of it takes no memory.
            self._waiting.append(_SILENCE[:left])
            left -= len(_SILENCE)

    def _keep(self, pcm: bytes) -> None:
        if self._bytes + len(pcm) > MAX_WAITING:
            self._fail("the disk is too slow")
            return
        self._waiting.append(pcm)
        self._bytes += len(pcm)

    async def end(self) -> None:
        """Writes the rest. The upload goes on by itself."""
        await self._writer.stop()
        try:
            await asyncio.to_thread(self._recording.end)
        except OSError as error:
            self._fail(str(error))
        self._about.samples = self._axis.end
        self._tell()
        if self._film is not None:
            await self._film.end()

    def _tell(self) -> None:
        self._about.version += 1
        self._publish(self._about)

    async def _flush(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting or self._failed:
            return
        try:
            await asyncio.to_thread(_append, self._recording, waiting)
        except OpenOmniError as error:
            self._fail(str(error))

    def _fail(self, reason: str) -> None:
        self._failed = True
        self._waiting.clear()
        log.error("recording %s of session %s stops here: %s", self.id, self._about.session_id, reason)


def _append(recording: Recording, pieces: Iterable[bytes | memoryview]) -> None:
    """Writes the pieces, about a MiB at a time."""
    batch: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size >= len(_SILENCE):
            recording.append(b"".join(batch))
            batch, size = [], 0
    recording.append(b"".join(batch))
