"""What the stretches of a media file hold: each file is decoded once, block by block, whatever its length."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import MediaError
from ..lazy import Lazy
from ..media import FALLBACK_RATE, Audio
from ..media_file import MediaFile, audio_track, channels, sound
from .samples import Sound

if TYPE_CHECKING:
    import numpy as np
    from av.audio.stream import AudioStream
    from numpy.typing import NDArray
else:
    np = Lazy("numpy")

_UNKNOWN_SIZE = 0x7FFF_0000
"""What writes a WAV into a pipe does not know its length, and puts the largest there; some take the sign for a bit."""

Stretch = tuple[float, float | None]
"""Start and end in seconds; None: the file's end."""


class Held(NamedTuple):
    """What one stretch holds."""

    seconds: float
    """How much of it there is in the file."""
    peak: float
    """The largest amplitude, 0…1."""
    digest: str
    """SHA-256 of its sound as 16-bit PCM at the file's own rate: the same for the same sound in another container."""


class Heard(NamedTuple):
    """What a file's track holds."""

    samples: int
    rate: int
    channels: int
    stretches: dict[Stretch, Held]
    damages: int
    """Places that could not be decoded; the stretches have silence there, or nothing."""
    stated: float | None
    """Seconds that the file says it has of this track; None where it doesn't say."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / self.rate


class _Ear:
    """Takes in what lies in one stretch."""

    def __init__(self, stretch: Stretch, rate: int) -> None:
        start, end = stretch
        self.first = round(start * rate)
        self.last = None if end is None else round(end * rate)
        self._rate = rate
        self._count, self._peak = 0, 0.0
        self._hash = hashlib.sha256(str(rate).encode())

    def take(self, block: NDArray[np.float32], at: int) -> None:
        begin = max(self.first - at, 0)
        end = len(block) if self.last is None else min(max(self.last - at, 0), len(block))
        if end <= begin:
            return
        piece = Audio(block[begin:end], self._rate)
        self._count += end - begin
        self._peak = max(self._peak, piece.peak)
        self._hash.update(piece.pcm16())

    @property
    def held(self) -> Held:
        return Held(self._count / self._rate, self._peak, self._hash.hexdigest())


def listen(
    path: Path,
    stretches: Iterable[Stretch],
    *,
    track: int | None = None,
    channel: int | None = None,
    told: Callable[[str], None] | None = None,
) -> Heard:
    """What these stretches of a file hold. `track` and `channel` as `Sound` has them; `told` gets a line on what is
    not as it should be. Raises MediaError for a file, a track or a channel that is not there, or can't be decoded."""
    with MediaFile(path, told or _nothing) as file:
        stream = audio_track(file, track)
        rate, count = stream.rate or FALLBACK_RATE, stream.channels or 1
        ears = {stretch: _Ear(stretch, rate) for stretch in stretches}
        stated = _stated(file, stream)
        # A file may have thousands of stretches: only those that a block may touch look at it.
        coming = sorted(ears.values(), key=lambda ear: ear.first, reverse=True)
        open_: list[_Ear] = []
        at = 0
        for block in _blocks(file, stream, rate, count, channel):
            while coming and coming[-1].first < at + len(block):
                open_.append(coming.pop())
            for ear in open_:
                ear.take(block, at)
            at += len(block)
            open_ = [ear for ear in open_ if ear.last is None or ear.last > at]
        if not at:
            raise MediaError(f"{file.name} has an audio track but no sound in it; record it again")
        return Heard(at, rate, count, {stretch: ear.held for stretch, ear in ears.items()}, file.damages, stated)


def layout(path: Path, track: int | None = None) -> Heard:
    """Samples, rate and channels of a track, counted. Raises MediaError as `listen` does."""
    return listen(path, (), track=track)


def stretch_of(path: Path, wanted: Sound) -> Audio:
    """The sound itself, mono, at the file's own rate. Raises MediaError as `listen` does, and for an empty stretch."""
    with MediaFile(path, _nothing) as file:
        stream = audio_track(file, wanted.track)
        rate, count = stream.rate or FALLBACK_RATE, stream.channels or 1
        first = round(wanted.start * rate)
        last = None if wanted.end is None else round(wanted.end * rate)
        pieces, at = [], 0
        for block in _blocks(file, stream, rate, count, wanted.channel):
            end = len(block) if last is None else min(max(last - at, 0), len(block))
            begin = min(max(first - at, 0), len(block))
            if end > begin:
                pieces.append(Audio(block[begin:end].copy(), rate))
            at += len(block)
            if last is not None and at >= last:
                break
        if not pieces:
            raise MediaError(f"{file.name} has no sound from {wanted.start:g} s on; correct the stretch")
        return Audio.join(pieces)


def _blocks(
    file: MediaFile, stream: object, rate: int, count: int, channel: int | None
) -> Iterator[NDArray[np.float32]]:
    if channel is None:
        yield from sound(file, stream, rate)
        return
    if channel > count:
        raise MediaError(f"{file.name} has no channel {channel}, for it has {count}; choose one of those")
    for planes in channels(file, stream, rate, count):
        yield planes[channel - 1]


def _stated(file: MediaFile, stream: AudioStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if file.container.streams.video else file.duration


def cut_off(path: Path) -> int:
    """Bytes that a WAV lacks of what its head says; 0 for all other files, and for a WAV whose writer did not know."""
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return 0
        size = int.from_bytes(head[4:8], "little")
        return 0 if size >= _UNKNOWN_SIZE else max(size + 8 - path.stat().st_size, 0)


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _nothing(line: str) -> None:
    """What is wrong is listed by the audit alone."""
