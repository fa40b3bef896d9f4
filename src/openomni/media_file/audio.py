"""One track's sound, on the file's axis: silence where it begins late, has a hole or is damaged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from ..bounds import MAX_RATE
from ..errors import MediaError
from ..lazy import Lazy
from .opening import MediaFile, undecodable

if TYPE_CHECKING:
    import numpy as np
    from av.audio.resampler import AudioResampler
    from numpy.typing import NDArray
else:
    np = Lazy("numpy")

Samples: TypeAlias = "NDArray[np.float32]"

RATES = range(1_000, MAX_RATE + 1)
"""Samples a second that a file may have."""
SLACK_S = 0.04
"""Stamps may be off by so much before silence is put in: containers round them, and some recorders guess."""
AFTER_DAMAGE_S = 0.001
RESTART_S = 1.0
"""A clock that falls back by more has begun again, as where two recordings were put together."""
MAX_HOLES = 10_000
MAX_SILENCE_S = 3600.0
"""Silence that is put into one file, in all: a kilobyte may claim years."""
LONGEST_S = 24 * 3600.0
"""What is read of one file."""
FAR_QUIETER = 10 ** (-12 / 10)
"""A mix with this part of the power of its loudest channel: they cancel, as two of opposite phase do."""
LOUDER = 2.0
MIX_MEMORY_S = 1.0
_CHUNK_S = 1.0


def sound(file: MediaFile, stream: Any, rate: int) -> Iterator[Samples]:
    """All of it at `rate`, mono, in pieces of any length. Raises MediaError where nothing of it can be decoded."""
    return _Sound(file, stream, rate, Mix()).pieces()


def channels(file: MediaFile, stream: Any, rate: int, count: int) -> Iterator[NDArray[np.float32]]:
    """As `sound`, in pieces of shape (count, n): its channels, or, where they are not as many, their mix in each."""
    return _Sound(file, stream, rate, Channels(count)).pieces()


class _Sound:
    def __init__(self, file: MediaFile, stream: Any, rate: int, mix: Mix | Channels) -> None:
        self._file, self._stream, self._rate = file, stream, rate
        self._made = 0
        """Samples given so far."""
        self._at = 0.0
        """Where the next frame is expected, in seconds from the file's beginning."""
        self._restarted = 0.0
        """Seconds by which the file's clock is behind since it began again."""
        self._silence, self._holes, self._damages = 0.0, 0, 0
        self._planes: Planes | None = None
        self._kind: tuple[Any, ...] = ()
        self._mix = mix

    def pieces(self) -> Iterator[Samples]:
        heard = False
        for _, frame in self._file.decoded(self._stream):
            if not frame.samples:
                continue
            if frame.sample_rate not in RATES:
                self._file.damaged(self._file.seconds(frame))
                continue
            if self._made > LONGEST_S * self._rate:
                self._file.tell(
                    "long", f"{self._file.name} is longer than {LONGEST_S / 3600:.0f} hours; the rest is left out"
                )
                break
            try:
                yield from self._in_its_place(frame)
                heard = True
            except undecodable():
                self._planes = None
                self._file.damaged(self._at)
        yield from self._rest()
        if not heard and self._file.damages:
            raise MediaError(f"{self._file.name} is damaged: none of its sound can be decoded; convert it to WAV")

    def _in_its_place(self, frame: Any) -> Iterator[Samples]:
        hole = self._hole(frame)
        kind = (frame.sample_rate, frame.layout.name, frame.format.name)
        if hole or kind != self._kind or self._planes is None:
            yield from self._rest()
            self._kind, self._planes = kind, Planes(self._rate)
        if hole:
            self._at += hole
            yield from self._hush(round(self._at * self._rate) - self._made)
        yield from self._mixed(self._planes(frame))
        self._at += frame.samples / frame.sample_rate

    def _hole(self, frame: Any) -> float:
        """Seconds of silence that belong before it."""
        said = self._file.seconds(frame)
        if said is None:
            return 0.0
        hole = said + self._restarted - self._at
        if hole < -RESTART_S:
            self._restarted -= hole
        slack = SLACK_S if self._file.damages == self._damages else AFTER_DAMAGE_S
        self._damages = self._file.damages
        if hole <= slack:
            return 0.0
        if self._silence + hole > MAX_SILENCE_S or self._holes >= MAX_HOLES:
            self._restarted -= hole
            self._file.tell("silence", f"{self._file.name} has holes of more than an hour; what follows at "
                                       f"{self._at:.1f} s comes at once")  # fmt: skip
            return 0.0
        self._silence, self._holes = self._silence + hole, self._holes + 1
        if self._made and not self._file.damages:
            self._file.tell("hole", f"{self._file.name} has a hole of {hole:.1f} s at {self._at:.1f} s; "
                                    "it is silence")  # fmt: skip
        return hole

    def _hush(self, count: int) -> Iterator[Samples]:
        while count > 0:
            silent = min(count, round(_CHUNK_S * self._rate))
            self._made += silent
            count -= silent
            yield np.zeros((*self._mix.shape, silent), np.float32)

    def _rest(self) -> Iterator[Samples]:
        """What the resampler still holds."""
        if self._planes is not None:
            yield from self._mixed(self._planes(None))
            self._planes = None

    def _mixed(self, found: Iterator[NDArray[np.float32]]) -> Iterator[Samples]:
        for planes in found:
            piece = self._mix(planes, self._rate)
            self._made += planes.shape[1]
            yield piece


class Planes:
    """A frame as float32 of shape (channels, n), at `rate` where one is given; at the end, with None, what is left."""

    def __init__(self, rate: int | None = None) -> None:
        import av

        # Not one plane a channel: PyAV has those of the first eight alone.
        self._resampler: AudioResampler = av.AudioResampler(format="flt", rate=rate)

    def __call__(self, frame: Any) -> Iterator[NDArray[np.float32]]:
        for out in self._resampler.resample(frame):
            values: NDArray[np.float32] = np.asarray(out.to_ndarray(), np.float32)
            yield values.reshape(-1, out.layout.nb_channels).T


class Mix:
    """Mono of all channels: their mean, which unlike FFmpeg's own mix never clips; where they cancel, the loudest."""

    shape = ()
    """Of what it gives, but for the samples."""

    def __init__(self) -> None:
        self._powers = np.zeros(0)
        self._loudest = 0

    def __call__(self, planes: NDArray[np.float32], rate: int) -> Samples:
        planes = _finite(planes)
        channel: Samples = planes[0]
        if len(planes) == 1:
            return channel
        mean: Samples = planes.mean(axis=0)
        fresh = np.array([np.dot(each, each) for each in (mean, *planes)], float) / max(len(mean), 1)
        if len(self._powers) != len(fresh):
            self._powers, self._loudest = np.zeros(len(fresh)), 0
        kept = math.exp(-len(mean) / rate / MIX_MEMORY_S)
        self._powers = kept * self._powers + (1 - kept) * fresh
        mixed, channels = self._powers[0], self._powers[1:]
        if channels.max() > LOUDER * channels[self._loudest]:
            self._loudest = int(channels.argmax())  # not at each chance: where it changes there is a click
        quiet = bool(mixed < FAR_QUIETER * channels[self._loudest])
        channel = planes[self._loudest]
        return channel if quiet else mean


class Channels:
    """The channels as they are; where they are not `count`, their mix in each of that many."""

    def __init__(self, count: int) -> None:
        self.shape = (count,)
        self._mix = Mix()

    def __call__(self, planes: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        if len(planes) == self.shape[0]:
            return _finite(planes)
        return np.broadcast_to(self._mix(planes, rate), (*self.shape, planes.shape[1]))


def _finite(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    # Sound in floating point may hold what no loudspeaker plays.
    if np.isfinite(np.vdot(planes, planes)):
        return planes
    return np.nan_to_num(planes, posinf=0.0, neginf=0.0).clip(-1, 1)
