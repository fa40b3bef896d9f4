"""A session as it sounded, made while it is read: the person on the left, the replies as they were heard on the right,
both on the session's axis (see `heard`)."""

from __future__ import annotations

import io

import numpy as np

from ...events import AXIS_RATE
from ...storage.spool import wav_header
from ..records.models import Recording
from .recording_sound import UNREADABLE, RecordingSound, Track, sound_of
from .tracks import ConversationTracks, Placed

FRAME = 4
"""Bytes of a sample of both tracks."""


class TwoTracks(io.RawIOBase):
    """The tracks as a stereo WAV at 16 kHz, which is never in memory as a whole; reads and seeks like a file.

    A recording that can't be read any more is silence.
    """

    def __init__(self, tracks: ConversationTracks) -> None:
        super().__init__()
        self._tracks = tracks
        self._head = _header(tracks.samples)
        self.size = len(self._head) + FRAME * tracks.samples
        self._at = 0
        self._open: dict[str, RecordingSound | None] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(offset + (0, self._at, self.size)[whence], 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self._at + size, self.size)
        start, self._at = self._at, max(self._at, end)
        head = self._head[start:end]
        first, last = max(start - len(self._head), 0), max(end - len(self._head), 0)
        if last <= first:
            return head
        sample = first // FRAME
        both = self.samples(sample, -(-last // FRAME) - sample).tobytes()
        return head + both[first - sample * FRAME : last - sample * FRAME]

    def samples(self, start: int, count: int) -> Track:
        """(count, 2) from `start` on."""
        tracks = (self._tracks.left, self._tracks.right)
        return np.stack([self._mixed(track, start, count) for track in tracks], axis=1)

    def _mixed(self, placed: list[Placed], start: int, count: int) -> Track:
        mixed = np.zeros(count, np.int32)
        for each in placed:
            first, last = max(each.start, start), min(each.end, start + count)
            if first < last and (sound := self._of(each.recording)) is not None:
                heard = _quietly(sound, first - each.start, last - first)
                mixed[first - start : first - start + len(heard)] += heard
            elif each.end <= start and (done := self._open.pop(each.recording.pk, None)) is not None:
                done.close()  # a long session has many replies
        return np.clip(mixed, -32768, 32767).astype("<i2")

    def _of(self, recording: Recording) -> RecordingSound | None:
        if recording.pk not in self._open:
            try:
                self._open[recording.pk] = sound_of(recording)
            except UNREADABLE:
                self._open[recording.pk] = None
        return self._open[recording.pk]

    def close(self) -> None:
        for sound in self._open.values():
            if sound is not None:
                sound.close()
        self._open.clear()
        super().close()


def _quietly(sound: RecordingSound, start: int, count: int) -> Track:
    try:
        return sound.read(start, count)
    except UNREADABLE:
        return np.empty(0, np.int16)


def _header(samples: int) -> bytes:
    head = bytearray(wav_header(AXIS_RATE, 2))
    head[4:8] = (len(head) - 8 + FRAME * samples).to_bytes(4, "little")
    head[-4:] = (FRAME * samples).to_bytes(4, "little")
    return bytes(head)
