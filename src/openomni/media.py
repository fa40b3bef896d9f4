"""Sound and pictures as values: immutable, numpy-backed, mono float32.

Decoding goes through PyAV, so whatever FFmpeg reads is read; a WAV is written with the standard library alone,
which keeps the listener small.
"""

from __future__ import annotations

import wave
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from . import jpeg
from .errors import MediaError as MediaError
from .lazy import Lazy
from .media_file import MediaFile, Told, audio_track, channels, moving, pictures, sound, upright

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
else:
    np = Lazy("numpy")

Samples: TypeAlias = "NDArray[np.float32]"
AUDIBLE = 10 ** (-40 / 20)
"""Amplitude of −40 dBFS: what is louder counts as heard."""
FALLBACK_RATE = 48_000
"""For a track that does not state its rate before it is decoded."""


class Audio:
    """Mono sound: `samples` of shape (n,), float32 in −1…1, at `rate` samples a second. Never changed in place."""

    # No dataclass: the wire encoder would take it apart by itself, array and all.
    __slots__ = ("rate", "samples")

    def __init__(self, samples: ArrayLike, rate: int) -> None:
        self.samples: Samples = np.asarray(samples, dtype=np.float32)
        self.rate = rate
        if self.samples.ndim != 1:
            shape = self.samples.shape
            raise ValueError(f"Audio takes mono samples of shape (n,), not {shape}; average the channels first")
        if rate <= 0:
            raise ValueError(f"the rate of Audio must be positive, not {rate}")

    def __repr__(self) -> str:
        return f"Audio({self.duration:.3f} s at {self.rate} Hz)"

    @classmethod
    def silence(cls, seconds: float, rate: int) -> Self:
        return cls(np.zeros(round(seconds * rate), np.float32), rate)

    @classmethod
    def from_pcm16(cls, data: bytes | bytearray | memoryview, rate: int) -> Self:
        """Little-endian signed 16-bit PCM, as in a WAV file and on the wire."""
        return cls(np.frombuffer(data, "<i2").astype(np.float32) / 32768.0, rate)

    @classmethod
    def join(cls, parts: Iterable[Audio]) -> Audio:
        """The parts one after another; all have the same rate. Raises ValueError when there are none."""
        parts = list(parts)
        rates = {part.rate for part in parts}
        if len(rates) != 1:
            raise ValueError(f"parts to join must share one rate, these have {sorted(rates) or 'no parts'}")
        return Audio(np.concatenate([part.samples for part in parts]), rates.pop())

    @classmethod
    def load(cls, path: str | Path, rate: int | None = None) -> Audio:
        """The whole sound of an audio or video file, mixed down to mono; `rate` resamples it."""
        with AudioReader(path, rate) as reader:
            blocks = list(reader.blocks(10.0))
            if not blocks:
                raise MediaError(f"{path} has an audio track but no sound in it; record it again")
            return Audio.join(blocks)

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.rate

    @property
    def peak(self) -> float:
        """The largest amplitude, 0…1; 0 for empty audio."""
        return float(np.abs(self.samples).max()) if len(self.samples) else 0.0

    def pcm16(self) -> bytes:
        clipped = np.clip(np.rint(self.samples * 32768.0), -32768, 32767)
        pcm: bytes = clipped.astype("<i2").tobytes()
        return pcm

    def cut(self, start: float, end: float | None = None) -> Audio:
        """From `start` to `end`, in seconds, as a view; what lies outside is left out."""
        last = len(self.samples) if end is None else max(round(end * self.rate), 0)
        return Audio(self.samples[max(round(start * self.rate), 0) : last], self.rate)

    def resample(self, rate: int) -> Audio:
        if rate == self.rate:
            return self
        import soxr

        return Audio(soxr.resample(self.samples, self.rate, rate), rate)

    def first_audible(self, threshold: float = AUDIBLE) -> float | None:
        """Seconds until the first sample louder than `threshold`; None when all is silent."""
        loud = np.abs(self.samples) > threshold
        index = int(loud.argmax())
        return index / self.rate if len(loud) and loud[index] else None

    def save(self, path: str | Path) -> Path:
        """Writes a 16-bit WAV."""
        path = Path(path)
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(self.rate)
            out.writeframes(self.pcm16())
        return path


class Frame:
    """A picture, seen `at` seconds on the session's axis, made of `pixels` or, by `from_jpeg`, of a JPEG's bytes.

    Those bytes are kept as they are, so that a model is sent what the camera gave; their header says how large the
    picture is, and it is decoded only for whoever wants pixels.
    """

    __slots__ = ("_decoded", "_jpeg", "_pixels", "at", "height", "width")

    def __init__(self, pixels: NDArray[np.uint8], at: float = 0.0) -> None:
        """`pixels`: uint8 RGB of shape (height, width, 3)."""
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"a Frame takes uint8 RGB of shape (height, width, 3), not {pixels.dtype} {pixels.shape}")
        self._jpeg: bytes | None = None
        self._pixels: NDArray[np.uint8] | None = pixels
        self._decoded: weakref.ref[NDArray[np.uint8]] | None = None
        self.height, self.width = pixels.shape[:2]
        self.at = at

    @classmethod
    def from_jpeg(cls, data: bytes, at: float = 0.0) -> Self:
        """Reads the header alone. Raises `MediaError` for what is no JPEG, or one beyond `bounds.MAX_PICTURE_…`."""
        frame = cls.__new__(cls)
        frame._jpeg, frame._pixels, frame._decoded, frame.at = data, None, None, at
        frame.width, frame.height = jpeg.size(data)
        return frame

    def __repr__(self) -> str:
        return f"Frame({self.width}×{self.height} at {self.at:.3f} s)"

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Decoded anew once nobody holds what was given before. Raises `MediaError` for a broken picture."""
        if self._pixels is not None:
            return self._pixels
        # Held weakly: a conversation keeps its pictures for hours, and one of them takes up to 48 MiB as pixels.
        pixels = self._decoded() if self._decoded is not None else None
        if pixels is None:
            assert self._jpeg is not None
            pixels = jpeg.decode(self._jpeg)
            self._decoded = weakref.ref(pixels)
        return pixels

    def jpeg(self, quality: int = 85) -> bytes:
        """The very bytes that it was made of, else its pixels encoded; `quality` is 1…100."""
        return self._jpeg if self._jpeg is not None else jpeg.encode(self.pixels, quality)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A stretch of sound with the pictures that were seen during it."""

    audio: Audio
    frames: tuple[Frame, ...] = ()


class AudioReader:
    """Reads the sound of a file in blocks, so that an hour takes no more memory than a second.

    It stands where a player has it: what begins late, or has holes, has silence there; what is damaged is left out.
    `told` gets a line on each such thing, and on which of several tracks it is; `track` chooses one, and `channel` one
    of its channels rather than their mix (both from 1). Raises `MediaError` with the mend for a file that is missing,
    empty, no media, or without such a track or channel.
    """

    def __init__(
        self,
        path: str | Path,
        rate: int | None = None,
        *,
        track: int | None = None,
        channel: int | None = None,
        told: Told | None = None,
    ) -> None:
        self._file = MediaFile(path, told)
        try:
            self._stream = audio_track(self._file, track)
            count = self._stream.channels or 1
            if channel is not None and not 1 <= channel <= count:
                raise MediaError(f"{self._file.name} has no channel {channel}, for it has {count}; choose one of those")
        except BaseException:
            self._file.close()
            raise
        self.track = self._file.container.streams.audio.index(self._stream) + 1
        """The number of the track that it is, from 1."""
        self.rate = rate or self._stream.rate or FALLBACK_RATE
        self._count, self._channel = count, channel

    @property
    def duration(self) -> float | None:
        """Seconds, as the container states them; None when it does not."""
        return self._file.duration

    def blocks(self, seconds: float = 0.1) -> Iterator[Audio]:
        """Blocks of `seconds` each; the last one is shorter. Raises MediaError where nothing of it can be decoded."""
        size = max(round(seconds * self.rate), 1)
        pending: list[Samples] = []
        held = 0
        for piece in self._pieces():
            pending.append(piece)
            held += len(piece)
            while held >= size:
                joined = np.concatenate(pending)
                yield Audio(joined[:size], self.rate)
                pending, held = [joined[size:]], held - size
        if held:
            yield Audio(np.concatenate(pending), self.rate)

    def _pieces(self) -> Iterator[Samples]:
        if self._channel is None:
            return sound(self._file, self._stream, self.rate)
        chosen = self._channel - 1
        return (planes[chosen] for planes in channels(self._file, self._stream, self.rate, self._count))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def frames(
    path: str | Path, every: float = 1.0, *, track: int | None = None, side: int | None = None
) -> Iterator[Frame]:
    """A picture every `every` seconds of a video, upright, its longest side at most `side` pixels long; nothing for a
    file without a video track. `track` chooses one (from 1)."""
    with MediaFile(path) as file:
        if (stream := moving(file, track)) is not None:
            for at, picture in pictures(file, stream, every):
                yield Frame(upright(picture, *([side] if side else [])), at)
