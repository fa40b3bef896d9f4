"""The pictures that a client shows, kept as a video: its own JPEGs in a Matroska file, no pixel touched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any

from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..media import Frame
from ..records import AnyRecord, RecordingRecord
from ..storage.spool import SpoolRecording
from .disk_writer import DiskWriter

log = logging.getLogger(__name__)

WRITE_EVERY = 0.5
"""Seconds that pictures wait in memory for the disk."""
MAX_WAITING = 32 << 20
"""Bytes that may wait for a slow disk; pictures beyond are dropped, and counted in the log."""
_OPTIONS = {"cluster_time_limit": "1000", "flush_packets": "1"}  # a gateway that is killed loses a second of pictures


class VideoRecording:
    """One session's pictures, on the same axis as its sound: the video begins with its first picture, and the sample of
    that is the recording's position. Written beside the event loop."""

    def __init__(
        self,
        begin: Callable[[], Awaitable[SpoolRecording]],
        about: RecordingRecord,
        publish: Callable[[AnyRecord], None],
    ) -> None:
        self._begin, self._about, self._publish = begin, about, publish
        self._recording: SpoolRecording | None = None
        self._waiting: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._last = -1
        self._dropped = 0
        self._failed = False
        self._container: Any = None
        self._stream: Any = None
        self._writer = DiskWriter(self._flush, WRITE_EVERY, f"writing the pictures of {about.recording_id}")

    def add(self, position: int, jpeg: bytes) -> None:
        """A picture; one that is not later than the last, or that the disk is too slow for, is dropped."""
        if self._failed:
            return
        if position <= self._last or self._bytes + len(jpeg) > MAX_WAITING:
            self._dropped += 1
            return
        self._last = position
        self._waiting.append((position, jpeg))
        self._bytes += len(jpeg)

    async def end(self) -> None:
        """Writes the rest. The upload goes on by itself."""
        await self._writer.stop()
        try:
            await asyncio.to_thread(self._close)
        except (OpenOmniError, OSError) as error:
            self._fail(str(error))
        if self._dropped:
            log.warning("session %s: %d pictures were not recorded", self._about.session_id, self._dropped)
        if self._recording is not None:
            self._about.version += 1
            self._publish(self._about)

    async def _flush(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting or self._failed:
            return
        try:
            if self._recording is None:
                self._recording = await self._begin()
                self._about.position = waiting[0][0]
                self._publish(self._about)
            await asyncio.to_thread(self._mux, waiting)
        except (OpenOmniError, OSError) as error:  # FFmpeg's own errors are OSErrors or ValueErrors
            self._fail(str(error))
        except ValueError as error:
            self._fail(f"a picture is not taken ({error})")

    def _mux(self, pictures: list[tuple[int, bytes]]) -> None:
        import av

        for position, jpeg in pictures:
            if self._container is None:
                first = Frame.from_jpeg(jpeg)
                self._container = av.open(self._recording, "w", format="matroska", options=_OPTIONS)
                self._stream = self._container.add_stream("mjpeg", rate=1)
                self._stream.width, self._stream.height = first.width, first.height
                self._stream.pix_fmt = "yuvj420p"
            packet = av.Packet(jpeg)
            packet.pts = packet.dts = position - self._about.position
            packet.time_base = Fraction(1, AXIS_RATE)
            packet.stream = self._stream
            packet.is_keyframe = True
            self._container.mux(packet)

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
        if self._recording is not None:
            self._recording.end()

    def _fail(self, reason: str) -> None:
        self._failed = True
        self._waiting.clear()
        log.error("the pictures of session %s stop here: %s", self._about.session_id, reason)
