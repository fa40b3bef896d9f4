"""How loud a recording is, drawn at any width without decoding it again: the smallest and the greatest sample of each
hundredth of a second.

The form is that of BBC audiowaveform's data files, version 2, in 8 bits, which peaks.js and waveform-data.js read:

| byte | holds (little-endian) |
| --- | --- |
| 0 | int32: version, 2 |
| 4 | uint32: flags, 1 for 8 bits |
| 8 | int32: samples a second |
| 12 | int32: samples that a pair stands for |
| 16 | uint32: pairs of each channel |
| 20 | int32: channels, 1 or 2 |
| 24 | int8 smallest, int8 greatest, of each channel in turn; then the next pair. 128 is full scale |

There are 100 pairs a second up to an hour, half as many up to two hours, and so on: no recording's peaks take more than
1.4 MB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ....media_file import MediaFile, audio_track, channels

MEDIA_TYPE, EXTENSION = "application/octet-stream", "dat"
PAIRS_A_SECOND = 100
MOST_PAIRS = 3600 * PAIRS_A_SECOND
"""Of each channel; an even number."""
FULL_SCALE = 128
_HEAD = struct.Struct("<iIiiIi")
_VERSION, _EIGHT_BITS = 2, 1
_BATCH_S = 1.0


def make(source: Path, target: Path, track: int | None) -> None:
    """Writes the peaks of a file's sound. Of more than two channels it is their mix. Raises MediaError."""
    with MediaFile(source, told=_nothing) as file:
        stream = audio_track(file, track)
        stream.codec_context.thread_count = 1
        count = stream.codec_context.channels if stream.codec_context.channels in (1, 2) else 1
        rate = stream.rate or 48_000
        peaks = Peaks(rate, count)
        for piece in _batches(channels(file, stream, rate, count), round(_BATCH_S * rate)):
            peaks.add(piece)
    target.write_bytes(peaks.data())


class Peaks:
    """Takes sound of `channels` channels as it comes."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate, self._each = rate, max(round(rate / PAIRS_A_SECOND), 1)
        self._pairs = np.empty((MOST_PAIRS, channels, 2), np.int8)
        self._count = 0
        self._rest = np.empty((channels, 0), np.float32)

    def add(self, samples: NDArray[np.float32]) -> None:
        """Of shape (channels, n)."""
        samples = np.concatenate([self._rest, samples], axis=1)
        while samples.shape[1] >= self._each:
            if self._count == MOST_PAIRS:
                self._halve()
                continue
            take = min(samples.shape[1] // self._each, MOST_PAIRS - self._count)
            now, samples = samples[:, : take * self._each], samples[:, take * self._each :]
            self._put(now.reshape(len(now), take, self._each))
        self._rest = samples

    def data(self) -> bytes:
        """All so far, as a file."""
        if self._rest.shape[1]:
            if self._count == MOST_PAIRS:
                self._halve()
            self._put(self._rest[:, None, :])
            self._rest = self._rest[:, :0]
        found = self._pairs[: self._count]
        return _HEAD.pack(_VERSION, _EIGHT_BITS, self._rate, self._each, *found.shape[:2]) + found.tobytes()

    def _put(self, blocks: NDArray[np.float32]) -> None:
        """Of shape (channels, pairs, samples)."""
        extremes = np.stack([blocks.min(axis=2), blocks.max(axis=2)], axis=2) * FULL_SCALE
        end = self._count + blocks.shape[1]
        self._pairs[self._count : end] = extremes.round().clip(-128, 127).transpose(1, 0, 2)
        self._count = end

    def _halve(self) -> None:
        pairs = self._pairs.reshape(-1, 2, *self._pairs.shape[1:])
        self._count //= 2
        self._pairs[: self._count] = np.stack([pairs[..., 0].min(axis=1), pairs[..., 1].max(axis=1)], axis=-1)
        self._each *= 2


def loudness(file: BinaryIO) -> tuple[float, NDArray[np.float32]]:
    """Pairs a second, and the greatest amplitude in each, 0…1, of all channels. Raises ValueError for no such file."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise ValueError("peaks begin with 24 bytes of their own")
    version, flags, rate, each, length, channels = _HEAD.unpack(head)
    pairs = np.frombuffer(file.read(2 * length * channels), np.int8)
    if (version, flags) != (_VERSION, _EIGHT_BITS) or min(rate, each) < 1 or len(pairs) != 2 * length * channels:
        raise ValueError("these are no peaks of this form")
    found = np.abs(pairs.astype(np.int16)).reshape(length, -1).max(axis=1, initial=0)
    return rate / each, (found / FULL_SCALE).astype(np.float32)


def _batches(pieces: Iterator[NDArray[np.float32]], least: int) -> Iterator[NDArray[np.float32]]:
    """Decoders give a few hundredths of a second at a time."""
    held: list[NDArray[np.float32]] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += piece.shape[1]
        if length >= least:
            yield np.concatenate(held, axis=1)
            held, length = [], 0
    if held:
        yield np.concatenate(held, axis=1)


def _nothing(line: str) -> None:
    """What is wrong with a file is told to who replays it."""
