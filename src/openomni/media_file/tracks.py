"""Which of a file's tracks is heard, and which is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import MediaError
from .audio import RATES, Mix, Planes
from .opening import MediaFile

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.stream import Stream
    from av.video.stream import VideoStream

T = TypeVar("T", bound="Stream")

SILENT = 10 ** (-60 / 20)
"""Amplitude of −60 dBFS: a track that is never louder holds no speech."""


def audio_track(file: MediaFile, wanted: int | None = None) -> AudioStream:
    """The track with the number `wanted` (from 1, among those of sound); without one the file's default track, and
    where that holds nothing, or there is none, the first that can be decoded and sounds.

    Raises MediaError where there is none. Which of several it is, is told.
    """
    tracks = list(file.container.streams.audio)
    if not tracks:
        raise MediaError(f"{file.name} has no audio track; choose a file with sound")
    if wanted is not None:
        return _wanted(file, tracks, wanted, "audio")
    known = [track for track in tracks if track.codec_context is not None and (not track.rate or track.rate in RATES)]
    if not known:
        if tracks[0].codec_context is not None:
            raise MediaError(f"{file.name} says that its sound has {tracks[0].rate} samples a second, which none has; "
                             "convert it to WAV")  # fmt: skip
        raise MediaError(f"{file.name} has sound of a kind that FFmpeg here cannot decode; convert it to WAV")
    if len(tracks) == 1:
        return known[0]
    first = next((track for track in known if track.disposition & type(track.disposition).default), known[0])
    order = [first, *(track for track in known if track is not first)]
    sounding = _first_that_sounds(file, [track.index for track in order])
    chosen = next((track for track in order if track.index == sounding), first)
    why = "" if chosen is tracks[0] else f", for {_why_not(tracks, first, chosen)}"
    file.tell("track", f"{file.name} has {len(tracks)} audio tracks; number {tracks.index(chosen) + 1} is heard{why}")
    return chosen


def _why_not(tracks: list[AudioStream], first: AudioStream, chosen: AudioStream) -> str:
    if chosen is first:
        can = tracks[0].codec_context is not None
        return "it is the default one" if can else "number 1 is of a kind that FFmpeg here cannot decode"
    return f"number {tracks.index(first) + 1} is silent"


def _first_that_sounds(file: MediaFile, order: list[int]) -> int | None:
    """The index of the first track in `order` that sounds. It is read on to the end only while an earlier one may."""
    with MediaFile(file.path, told=_nothing) as again:
        ears = {index: _Ear() for index in order}
        loud: set[int] = set()
        for track, frame in again.decoded(*(again.container.streams[index] for index in order)):
            if track.index not in loud and ears[track.index].hears(frame):
                loud.add(track.index)
                if track.index == order[0]:
                    break
        return next((index for index in order if index in loud), None)


class _Ear:
    """Hears a track as it would be read, which is to say mixed."""

    def __init__(self) -> None:
        self._mix = Mix()
        self._planes = Planes()

    def hears(self, frame: Any) -> bool:
        return any(float(abs(self._mix(planes, frame.sample_rate)).max()) > SILENT for planes in self._planes(frame))


def moving(file: MediaFile, wanted: int | None = None) -> VideoStream | None:
    """The video track with the number `wanted` (from 1), or the default one, or the first that can be decoded. The
    cover of a song is none, though it is a track of video, too. Raises MediaError where the wanted one is not there."""
    streams = file.container.streams.video
    tracks = [track for track in streams if not track.disposition & type(track.disposition).attached_pic]
    if wanted is not None:
        return _wanted(file, tracks, wanted, "video")
    known = [track for track in tracks if track.codec_context is not None]
    default = next((track for track in known if track.disposition & type(track.disposition).default), None)
    return default or next(iter(known), None)


def _wanted(file: MediaFile, tracks: list[T], wanted: int, kind: str) -> T:
    if not 1 <= wanted <= len(tracks):
        has = {0: "none", 1: "one"}.get(len(tracks), str(len(tracks)))
        raise MediaError(f"{file.name} has no {kind} track number {wanted}, for it has {has}; choose one of those")
    chosen = tracks[wanted - 1]
    if chosen.codec_context is None:
        raise MediaError(
            f"{kind} track {wanted} of {file.name} is of a kind that FFmpeg here cannot decode; convert it"
        )
    return chosen


def _nothing(line: str) -> None:
    """What is wrong is told when it is read in earnest."""
