"""The sound of one recording, read anywhere: a WAV file at 16 kHz as it is, all else turned into that."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ...events import AXIS_RATE
from ...media import Audio, AudioReader, MediaError
from ...storage import StorageError
from ..media.store import storage
from ..records.models import Recording

Track = NDArray[np.int16]
UNREADABLE = (StorageError, MediaError, OSError)
"""What reading a recording may raise."""


class RecordingSound(Protocol):
    """A recording at 16 kHz, mono."""

    def read(self, start: int, count: int) -> Track:
        """`count` samples from `start` on, or fewer at the end."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Head:
    """Of a 16-bit WAV file: where its sound begins (bytes), how many samples are here, of how many channels."""

    begins: int
    samples: int
    channels: int
    rate: int

    @classmethod
    def read(cls, file: BinaryIO) -> _Head:
        """Raises wave.Error for another kind. One that still grows leaves its length open; what is here counts."""
        with wave.open(file) as sound:
            if sound.getsampwidth() != 2:
                raise wave.Error("not 16 bit")
            begins, frame = file.tell(), 2 * sound.getnchannels()
            here = (file.seek(0, 2) - begins) // frame
            return cls(begins, min(sound.getnframes(), here), sound.getnchannels(), sound.getframerate())


class _Wav:
    """Reads where it is asked to. Another rate is resampled a few seconds at a time, with a second on each side so
    that the pieces fit."""

    def __init__(self, file: BinaryIO, head: _Head) -> None:
        self._file, self._head = file, head

    def read(self, start: int, count: int) -> Track:
        if self._head.rate == AXIS_RATE:
            return self._raw(start, count)
        import soxr

        first, last = max(start // AXIS_RATE - 1, 0), -(-(start + count) // AXIS_RATE) + 1
        rate = self._head.rate
        around = soxr.resample(self._raw(first * rate, (last - first) * rate), rate, AXIS_RATE)
        skipped = start - first * AXIS_RATE
        return np.asarray(around[skipped : skipped + count], np.int16)

    def _raw(self, start: int, count: int) -> Track:
        count = max(min(count, self._head.samples - start), 0)
        frame = 2 * self._head.channels
        self._file.seek(self._head.begins + start * frame)
        samples: Track = np.frombuffer(self._file.read(count * frame), "<i2")
        if self._head.channels > 1:
            samples = samples.reshape(-1, self._head.channels).mean(axis=1).astype(np.int16)
        return samples

    def close(self) -> None:
        self._file.close()


class _Decoded:
    """Any other sound or video, decoded from its beginning as it is read; a step back begins again."""

    def __init__(self, path: str, track: int | None) -> None:
        self._path, self._track = path, track
        self._reader: AudioReader | None = None
        self._blocks: Iterator[Audio] = iter(())
        self._at = 0
        """Where `_rest` begins."""
        self._rest: Track = np.empty(0, np.int16)

    def read(self, start: int, count: int) -> Track:
        if self._reader is None or start < self._at:
            self.close()
            self._reader = AudioReader(self._path, AXIS_RATE, track=self._track)
            self._blocks, self._at, self._rest = self._reader.blocks(1.0), 0, np.empty(0, np.int16)
        while self._at + len(self._rest) < start + count and (block := next(self._blocks, None)) is not None:
            fresh = np.frombuffer(block.pcm16(), "<i2")
            skipped = max(min(start - self._at, len(self._rest)), 0)
            self._at, self._rest = self._at + skipped, np.concatenate([self._rest[skipped:], fresh])
        return self._rest[start - self._at : start - self._at + count]

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def length_of(recording: Recording) -> int:
    """Samples at 16 kHz that are here; 0 where nothing is, or nothing that sounds."""
    try:
        with storage().open(recording.key) as file:
            if (head := _plain(recording, file)) is not None:
                return head.samples * AXIS_RATE // head.rate
            if recording.samples and recording.rate:
                return recording.samples * AXIS_RATE // recording.rate
            with AudioReader(file.name, track=recording.audio_track) as reader:
                return round((reader.duration or 0.0) * AXIS_RATE)
    except UNREADABLE:
        return 0


def sound_of(recording: Recording) -> RecordingSound:
    """Raises one of `UNREADABLE`."""
    file = storage().open(recording.key)
    if (head := _plain(recording, file)) is not None:
        return _Wav(file, head)
    with file:
        return _Decoded(file.name, recording.audio_track)


def _plain(recording: Recording, file: BinaryIO) -> _Head | None:
    """The head of a 16-bit WAV; None for another kind of file."""
    try:
        return _Head.read(file) if recording.media_type.endswith("wav") else None
    except (wave.Error, EOFError):
        return None
