"""Whether browsers play a file as it is, and, where they don't, one that they do.

What Chromium, Firefox and Safari all play is in `PLAYED`: by the type that the file is served with, the container and
the codecs. Pictures are of 8 bits in 4:2:0, the track that is meant is the first of its kind, and a WebM says how long
it lasts: in one that was written while it was recorded nobody can seek. All else gets a file of its own. What a browser
knows is taken over undecoded: H.264, AAC and MP3 into MP4; VP8, VP9, AV1, Opus and Vorbis into WebM. Other sound
becomes Opus, or AAC beside H.264; other pictures become VP8.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import MediaError
from ....media_file import MediaFile, audio_track, channels, moving, pictures, upright

_PCM = frozenset({"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"})
_IN_WEBM = frozenset({"opus", "vorbis", "vp8", "vp9", "av1"})
_IN_MP4 = frozenset({"aac", "mp3", "h264"})
_WAV, _MP3, _FLAC = ("wav", _PCM), ("mp3", frozenset({"mp3"})), ("flac", frozenset({"flac"}))
_MP4, _WEBM = ("mp4", _IN_MP4 | {"flac", "opus", "av1", "vp9"}), ("webm", _IN_WEBM)
PLAYED = {
    "audio/wav": _WAV, "audio/x-wav": _WAV, "audio/wave": _WAV, "audio/vnd.wave": _WAV,
    "audio/mpeg": _MP3, "audio/mp3": _MP3,
    "audio/flac": _FLAC, "audio/x-flac": _FLAC,
    "audio/aac": ("aac", frozenset({"aac"})),
    "audio/ogg": ("ogg", frozenset({"opus", "vorbis"})),
    "audio/mp4": _MP4, "audio/x-m4a": _MP4, "video/mp4": _MP4,
    "audio/webm": _WEBM, "video/webm": _WEBM,
}  # fmt: skip
"""Media type → FFmpeg's name of the container, and the codecs."""
_PLAIN = ("yuv420p", "yuvj420p")
MOST_CHANNELS = 2
MOST_REORDERED = 16
"""Pictures that may be decoded before the one that is seen first; codecs allow as many."""
SIDE = 1280
"""Pixels of the longer side of pictures that are made anew, at most."""
PICTURES_A_SECOND = 30
_RATE = 48_000
_BIT_RATES = {"audio": 96_000, "video": 1_500_000}
_VP8 = {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0", "lag-in-frames": "0"}
_MILLISECOND = Fraction(1, 1000)

Timed = tuple[float, int, Any]
"""A packet with its second, and its track's number, so that two are never compared by themselves."""


def plays(file: MediaFile, media_type: str, audio: Any, video: Any) -> bool:
    """Whether browsers play these tracks of the file, either of which may be None, served as `media_type`."""
    if media_type.startswith("image/"):
        return True
    container, codecs = PLAYED.get(media_type, ("", frozenset()))
    if container not in file.container.format.name.split(",") or (container == "webm" and not file.duration):
        return False
    streams = file.container.streams
    first = [track is None or track is of[0] for track, of in ((audio, streams.audio), (video, streams.video))]
    return all(first) and all(track is None or _codec(track) in codecs for track in (audio, video)) and _is_plain(video)


def make(source: Path, target: Path, audio_number: int | None, video_number: int | None) -> str:
    """Writes it, and gives its media type. Raises MediaError, OSError."""
    import av

    try:
        return _written(source, target, audio_number, video_number, copies=True)
    except av.FFmpegError:
        # Of a damaged file what is copied may come in an order that no container takes; what is made anew does not.
        return _written(source, target, audio_number, video_number, copies=False)


def _written(source: Path, target: Path, audio_number: int | None, video_number: int | None, *, copies: bool) -> str:
    import av

    with MediaFile(source, told=_nothing) as sound, MediaFile(source, told=_nothing) as film:
        audio, video = chosen(sound, audio_number, video_number)[0], chosen(film, audio_number, video_number)[1]
        name = _container(audio, video) if copies else "webm"
        kept = (_IN_MP4 if name == "mp4" else _IN_WEBM) if copies else frozenset()
        with av.open(str(target), "w", format=name) as out:
            tracks: list[Iterator[Timed]] = []
            if video is not None:
                copied = _codec(video) in kept and _is_plain(video)
                tracks.append((_copied if copied else _filmed)(out, film, video, len(tracks)))
            if audio is not None:
                tracks.append(
                    _copied(out, sound, audio, len(tracks)) if _codec(audio) in kept
                    else _sounded(out, sound, audio, len(tracks), "aac" if name == "mp4" else "libopus")
                )  # fmt: skip
            # All tracks must be there before the first packet is written: each gives nothing but that first.
            for track in tracks:
                next(track)
            for _, _, packet in heapq.merge(*tracks, key=lambda timed: timed[:2]):
                out.mux(packet)
    return f"{'video' if video is not None else 'audio'}/{name}"


def chosen(file: MediaFile, audio: int | None, video: int | None) -> tuple[Any, Any]:
    """The tracks that are heard and seen, None where there is none. Raises MediaError where there is neither."""
    seen = moving(file, video) if file.container.streams.video else None
    try:
        return audio_track(file, audio), seen
    except MediaError:
        if seen is None:
            raise
        return None, seen


def _container(audio: Any, video: Any) -> str:
    decides = audio if video is None else video
    return "mp4" if _codec(decides) in _IN_MP4 and (video is None or _is_plain(video)) else "webm"


def _codec(track: Any) -> str:
    return str(track.codec_context.codec.canonical_name)


def _is_plain(video: Any) -> bool:
    return video is None or video.codec_context.pix_fmt in _PLAIN


def _copied(out: Any, file: MediaFile, track: Any, number: int) -> Iterator[Timed]:
    target = out.add_stream_from_template(track)
    yield 0.0, number, None
    begins = round(file.begins / track.time_base)
    for packet in _stamped(file.packets(track)):
        packet.pts, packet.dts = packet.pts - begins, packet.dts - begins
        packet.stream = target
        yield float(packet.dts * packet.time_base), number, packet


def _stamped(packets: Iterator[Any]) -> Iterator[Any]:
    """Those with a time, each with when it is to be decoded. Where pictures are stored in another order than they are
    seen in, Matroska does not say that of the first ones."""
    first: list[Any] = []
    known = False
    for packet in packets:
        if packet.pts is None or (known and packet.dts is None):
            continue
        if packet.dts is None and len(first) < MOST_REORDERED:
            first.append(packet)
            continue
        if packet.dts is None:
            packet.dts = packet.pts
        yield from _before(packet.dts, first)
        yield packet
        first, known = [], True
    if first:
        yield from _before(min(each.pts for each in first), first)


def _before(dts: int, first: list[Any]) -> list[Any]:
    for before, each in enumerate(reversed(first), 1):
        each.dts = min(dts - before * (each.duration or 1), each.pts)
    return first


def _sounded(out: Any, file: MediaFile, track: Any, number: int, codec: str) -> Iterator[Timed]:
    import av

    track.codec_context.thread_count = 1
    count = min(track.codec_context.channels, MOST_CHANNELS) or 1
    target = out.add_stream(codec, rate=_RATE, layout="mono" if count == 1 else "stereo")
    target.bit_rate = _BIT_RATES["audio"]
    target.codec_context.thread_count = 1
    yield 0.0, number, None
    made = 0
    for piece in channels(file, track, _RATE, count):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "fltp", target.layout.name)
        frame.sample_rate, frame.time_base, frame.pts = _RATE, Fraction(1, _RATE), made
        made += piece.shape[1]
        yield from _timed(target.encode(frame), number)
    yield from _timed(target.encode(None), number)


def _filmed(out: Any, file: MediaFile, track: Any, number: int) -> Iterator[Timed]:
    import av

    track.codec_context.thread_count = 1
    target = out.add_stream("libvpx", rate=PICTURES_A_SECOND, options=_VP8)
    target.bit_rate, target.pix_fmt = _BIT_RATES["video"], "yuv420p"
    target.codec_context.time_base, target.codec_context.thread_count = _MILLISECOND, 1
    found = ((at, upright(each, SIDE)) for at, each in pictures(file, track, 1 / PICTURES_A_SECOND - 0.002))
    first = next(found, None)
    if first is None:
        raise MediaError(f"{file.name} is damaged: none of its pictures can be decoded")
    target.height, target.width = (side // 2 * 2 or 2 for side in first[1].shape[:2])
    yield 0.0, number, None
    last = -1
    for at, pixels in _again(first, found):
        due = round(at / _MILLISECOND)
        if due <= last:
            continue
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(target.width, target.height, "yuv420p")
        picture.pts, picture.time_base, last = due, _MILLISECOND, due
        yield from _timed(target.encode(picture), number)
    yield from _timed(target.encode(None), number)


def _timed(packets: list[Any], number: int) -> Iterator[Timed]:
    for packet in packets:
        yield float((packet.dts or 0) * packet.time_base), number, packet


def _again(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _nothing(line: str) -> None:
    """What is wrong with a file is told to who replays it."""
