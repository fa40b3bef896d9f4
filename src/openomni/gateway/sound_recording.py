"""The sound of one session on our disk, to the sample, and with it the pictures that were shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from ..errors import OpenOmniError
from ..records import AnyRecord, RecordingRecord
from ..storage.spool import SpoolRecording
from .disk_writer import DiskWriter
from .input_audio import Axis
from .video_recording import VideoRecording

log = logging.getLogger(__name__)

FLUSH_EVERY = 0.25
"""Seconds of sound that wait in memory for the disk."""
MAX_WAITING = 64 << 20
"""Bytes that may wait for a slow disk; what comes then is not recorded, and the log says so."""
_SILENCE = memoryview(bytes(1 << 20))


class SoundRecording:
    """The recording of one session: PCM16 at 16 kHz, written beside the event loop, and a video where it has pictures.
    It outlives the connection that it began with; whoever holds it last calls `end`."""

    def __init__(
        self, recording: SpoolRecording, about: RecordingRecord, publish: Callable[[AnyRecord], None],
        video: Callable[[], VideoRecording],
    ) -> None:  # fmt: skip
        self.id = recording.id
        self._recording, self._about, self._publish = recording, about, publish
        self._begin_video = video
        self._video: VideoRecording | None = None
        self._axis = Axis()
        """Of the file: its silence is bounded like that of the session's."""
        self._waiting: list[bytes | memoryview] = []
        self._bytes = 0
        self._next: int | None = None
        self._failed = False
        self._writer = DiskWriter(self._flush, FLUSH_EVERY, f"writing recording {recording.id}")
        publish(about)

    @property
    def position(self) -> int | None:
        """Where it lies on the session's axis; None before its first sample."""
        return None if self._next is None else self._about.position

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
        if self._video is None:
            self._video = self._begin_video()
        self._video.add(position, jpeg)

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
        if self._video is not None:
            await self._video.end()

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


def _append(recording: SpoolRecording, pieces: Iterable[bytes | memoryview]) -> None:
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
