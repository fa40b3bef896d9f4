"""What is captured, and the source that replays a file as if it were said now."""

from __future__ import annotations

import asyncio
import logging
import mimetypes
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from ... import clock, media_file
from ...background import to_the_end
from ...errors import OpenOmniError, WrongUsage
from ...events import AXIS_RATE
from ...media import AUDIBLE, Audio, AudioReader, Frame
from ...media_file import SHOWN_SIDE, SILENT, MediaFile, Told, audio_track, moving, shown, upright
from ...storage.spool import Spool, SpoolRecording, new_recording

log = logging.getLogger(__name__)

BLOCK_S = 0.02
BLOCK = round(BLOCK_S * AXIS_RATE)
"""Samples of one live block."""
PICTURE_EVERY_S = 1.0
CLOSING_SILENCE_S = 1.0
"""Silence after a file, so that turn detection hears the last utterance end."""
_READ_BLOCKS = 25


@dataclass(frozen=True, slots=True)
class Block:
    """PCM16 at 16 kHz from sample `position` of the session on; its first sample was captured at `captured`."""

    position: int
    captured: float
    pcm: bytes


@dataclass(frozen=True, slots=True)
class CapturedPicture:
    """A camera frame as JPEG."""

    position: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class UtteranceEnd:
    """An utterance ends here because the user said so."""


Captured = Block | CapturedPicture | UtteranceEnd


class CaptureSource(Protocol):
    """Something that captures. `check`, then `open`, then iterate `capture`; `stop` makes it end."""

    label: str
    """How the session names it: `mic`, `camera`, `file:NAME`."""
    decides_turns: bool
    """It yields `UtteranceEnd`s, and turn detection is off."""
    ambient: bool
    """It hears the room, and with it a loudspeaker that stands there."""

    def check(self) -> None:
        """Raises OpenOmniError with the mend when there is nothing to capture from."""
        ...

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[SpoolRecording]:
        """Makes ready, and gives the recordings that it captures into; the first has that id, and the session's axis
        is its own. Raises OpenOmniError with the mend."""
        ...

    def capture(self) -> AsyncIterator[Captured]: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ChosenTracks:
    """Which of a file's tracks of each kind, from 1; None leaves it to `openomni.media_file`."""

    audio: int | None = None
    video: int | None = None


ANY_TRACKS = ChosenTracks()


class FileSource:
    """Replays the sound of a file, and of a video one picture a second, paced by the monotonic clock.

    `time_points` (seconds) cut it: each piece up to the next point is one utterance. `told` gets a line on what is not
    as it should be in the file.
    """

    ambient = False

    def __init__(
        self, path: Path, time_points: Sequence[float] = (), tracks: ChosenTracks = ANY_TRACKS, told: Told | None = None
    ) -> None:
        self.path = path
        self.label = f"file:{shown(path.name)}"
        self._tracks, self._told = tracks, once(told or log.warning)
        self._heard = tracks.audio
        self.decides_turns = bool(time_points)
        self._time_points = [point for point in time_points if point > 0]
        self._stopped = False

    def check(self) -> None:
        self._heard = check_has_sound(self.path, self._tracks, self._told)
        check_time_points(self.path, self._time_points)

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[SpoolRecording]:
        return [self.keep(spool, session_id, recording_id)]

    def keep(self, spool: Spool, session_id: str, recording_id: str = "") -> SpoolRecording:
        """Copies the file into the spool as it is. Raises SpoolFull, MediaError."""
        with MediaFile(self.path, told=_nothing) as file:
            kind: Literal["audio", "video"] = "video" if moving(file, self._tracks.video) is not None else "audio"
            rate = audio_track(file, self._heard).rate or None
        guessed = mimetypes.guess_type(f"media{self.path.suffix}")[0] or ""
        media_type = guessed if guessed.startswith(("audio/", "video/")) else f"{kind}/x-unknown"
        meta = new_recording(kind, media_type, rate=rate, session_id=session_id, source=shown(self.path.name),
                             recording_id=recording_id)  # fmt: skip
        meta.audio_track, meta.video_track = self._tracks.audio, self._tracks.video
        return spool.keep(self.path, meta)

    def pieces(self) -> list[tuple[float, float]]:
        """The spans (seconds) between the time points, from the start of the file to its end, without those that hold
        no sound. Raises OpenOmniError when none is left."""
        starts, ends = [0.0, *self._time_points], [*self._time_points, -1.0]
        loud = [False] * len(starts)
        at, piece = 0, 0
        with self._reader() as reader:
            for block in reader.blocks(0.1):
                while ends[piece] >= 0 and at >= ends[piece] * AXIS_RATE:
                    piece += 1
                loud[piece] = loud[piece] or block.peak > AUDIBLE
                at += len(block.samples)
        spans = [(start, end) for start, end, heard in zip(starts, ends, loud, strict=True) if heard]
        if not spans:
            raise NoSpeech(f"no speech found in {shown(self.path)}: every piece is silent; check the recording")
        return [(start, end if end >= 0 else at / AXIS_RATE) for start, end in spans]

    def read_through(self) -> None:
        """Tells what is not as it should be, where somebody else reads the sound. `stop` ends it."""
        with self._reader() as reader:
            for _ in reader.blocks(10.0):
                if self._stopped:
                    break

    def _reader(self) -> AudioReader:
        return AudioReader(self.path, AXIS_RATE, track=self._heard, told=self._told)

    def stop(self) -> None:
        self._stopped = True

    async def capture(self) -> AsyncIterator[Captured]:
        reader = await to_the_end(asyncio.to_thread(self._reader))
        began, position = clock.now(), 0
        points = iter([*self._time_points, float("inf")])
        cut = next(points)
        pictures = _Pictures(self.path, self._tracks.video)
        async with aclosing(self._sound(reader)) as sound:
            async for pcm in sound:
                while position >= cut * AXIS_RATE:
                    cut = next(points)
                    yield UtteranceEnd()
                seconds = position / AXIS_RATE
                # A microphone has a block only once its last sample was heard.
                await _until(began + seconds + BLOCK_S)
                for picture in pictures.due(seconds):
                    yield picture
                yield Block(position, began + seconds, pcm)
                position += BLOCK
                if self._stopped:
                    break
        if self.decides_turns:
            yield UtteranceEnd()

    async def _sound(self, reader: AudioReader) -> AsyncGenerator[bytes, None]:
        """PCM of the file's blocks, all of BLOCK samples; then the closing silence."""
        with reader:
            blocks = reader.blocks(BLOCK_S)
            while some := await to_the_end(asyncio.to_thread(_read, blocks)):
                for pcm in some:
                    yield pcm.ljust(2 * BLOCK, b"\0")
        if not self.decides_turns:
            for _ in range(round(CLOSING_SILENCE_S / BLOCK_S)):
                yield bytes(2 * BLOCK)


class _Pictures:
    """The pictures of a video, decoded off the event loop a little before they are due."""

    def __init__(self, path: Path, track: int | None) -> None:
        self._pictures = pictures(path, track)
        self._next: asyncio.Task[CapturedPicture | None] | None = None
        self._over = False

    def due(self, seconds: float) -> list[CapturedPicture]:
        """Those up to `seconds`; one that is not decoded yet comes later, and never holds up the sound."""
        ready: list[CapturedPicture] = []
        while not self._over:
            if self._next is None:
                self._next = asyncio.create_task(asyncio.to_thread(next, self._pictures, None))
            if not self._next.done():
                break
            picture = self._next.result()
            if picture is None:
                self._over = True
            elif picture.position <= seconds * AXIS_RATE:
                ready.append(picture)
                self._next = None
            else:
                break
        return ready


def pictures(path: Path, track: int | None = None) -> Iterator[CapturedPicture]:
    """One picture a second of a video; nothing for a file without pictures."""
    with MediaFile(path, told=_nothing) as file:
        if (stream := moving(file, track)) is None:
            return
        # One thread and no frames that nothing refers to: a small board has little memory and less time.
        stream.codec_context.thread_count = 1
        stream.codec_context.skip_frame = "NONREF"
        for at, decoded in media_file.pictures(file, stream, PICTURE_EVERY_S):
            yield CapturedPicture(round(at * AXIS_RATE), jpeg(decoded))


def jpeg(decoded: Any) -> bytes:
    """A decoded video frame, upright, as JPEG of at most `SHOWN_SIDE` pixels."""
    return Frame(upright(decoded, SHOWN_SIDE)).jpeg()


def check_has_sound(path: Path, tracks: ChosenTracks = ANY_TRACKS, told: Told | None = None) -> int:
    """The number of the track that is heard. Raises MediaError for what is no media, lacks a wanted track, has no sound
    or is silent; stops at the first sound."""
    if tracks.video is not None:
        with MediaFile(path, told=_nothing) as file:
            moving(file, tracks.video)
    with AudioReader(path, AXIS_RATE, track=tracks.audio, told=told) as reader:
        for block in reader.blocks(0.5):
            if block.peak > SILENT:
                return reader.track
    raise NoSpeech(f"no speech found in {shown(path)}: it is silent; check the recording")


def once(told: Told) -> Told:
    """Tells each line one time: a file is read more than once."""
    lines: set[str] = set()

    def tell(line: str) -> None:
        if line not in lines:
            lines.add(line)
            told(line)

    return tell


def _nothing(line: str) -> None:
    """It is told when the sound is read."""


def check_time_points(path: Path, points: Sequence[float]) -> None:
    """Raises WrongUsage for one that lies behind the end of the file."""
    with AudioReader(path, told=_nothing) as reader:
        duration = reader.duration
    if points and duration is not None and points[-1] >= duration:
        raise WrongUsage(
            f"--time-points: {points[-1]:g} s lies behind the end of {shown(path)}, which lasts {duration:.1f} s"
        )


class NoSpeech(OpenOmniError):
    """Nothing was said."""


def _read(blocks: Iterator[Audio]) -> list[bytes]:
    return [block.pcm16() for block in islice(blocks, _READ_BLOCKS)]


async def _until(stamp: float) -> None:
    wait = stamp - clock.now()
    if wait > 0:
        await asyncio.sleep(wait)
