"""What is captured, and the source that replays a file as if it were said now."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from ... import clock
from ...errors import OpenOmniError, WrongUsage
from ...events import AXIS_RATE
from ...media import Audio, AudioReader, Frame
from ...storage.spool import Recording, Spool, new_recording

T = TypeVar("T")

BLOCK_S = 0.02
BLOCK = round(BLOCK_S * AXIS_RATE)
"""Samples of one live block."""
PICTURE_EVERY_S = 1.0
PICTURE_SIDE = 768
"""Longest side, in pixels, of a picture that is sent live; the recording keeps the full size."""
CLOSING_SILENCE_S = 1.0
"""Silence after a file, so that turn detection hears the last utterance end."""
SILENT = 10 ** (-60 / 20)
"""A file that is never louder than −60 dBFS holds no speech."""
_READ_BLOCKS = 25


@dataclass(frozen=True, slots=True)
class Block:
    """PCM16 at 16 kHz from sample `position` of the session on; its first sample was captured at `captured`."""

    position: int
    captured: float
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """A camera frame as JPEG."""

    position: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class UtteranceEnd:
    """An utterance ends here because the user said so."""


Captured = Block | Picture | UtteranceEnd


class Source(Protocol):
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

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[Recording]:
        """Makes ready, and gives the recordings that it captures into; the first has that id, and the session's axis
        is its own. Raises OpenOmniError with the mend."""
        ...

    def capture(self) -> AsyncIterator[Captured]: ...

    def stop(self) -> None: ...


class FileSource:
    """Replays the sound of a file, and of a video one picture a second, paced by the monotonic clock.

    `time_points` (seconds) cut it: each piece up to the next point is one utterance.
    """

    ambient = False

    def __init__(self, path: Path, time_points: Sequence[float] = ()) -> None:
        self.path = path
        self.label = f"file:{path.name}"
        self.decides_turns = bool(time_points)
        self._time_points = [point for point in time_points if point > 0]
        self._stopped = False

    def check(self) -> None:
        check_has_sound(self.path)
        check_time_points(self.path, self._time_points)

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[Recording]:
        return [keep_file(self.path, spool, session_id, recording_id)]

    def stop(self) -> None:
        self._stopped = True

    async def capture(self) -> AsyncIterator[Captured]:
        began, position = clock.now(), 0
        points = iter([*self._time_points, float("inf")])
        cut = next(points)
        pictures = _Pictures(self.path)
        async with aclosing(self._sound()) as sound:
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

    async def _sound(self) -> AsyncGenerator[bytes, None]:
        """PCM of the file's blocks, all of BLOCK samples; then the closing silence."""
        with AudioReader(self.path, AXIS_RATE) as reader:
            blocks = reader.blocks(BLOCK_S)
            while some := await _to_the_end(asyncio.to_thread(_read, blocks)):
                for pcm in some:
                    yield pcm.ljust(2 * BLOCK, b"\0")
        if not self.decides_turns:
            for _ in range(round(CLOSING_SILENCE_S / BLOCK_S)):
                yield bytes(2 * BLOCK)


class _Pictures:
    """The pictures of a video, decoded off the event loop a little before they are due."""

    def __init__(self, path: Path) -> None:
        self._pictures = pictures(path)
        self._next: asyncio.Task[Picture | None] | None = None
        self._over = False

    def due(self, seconds: float) -> list[Picture]:
        """Those up to `seconds`; one that is not decoded yet comes later, and never holds up the sound."""
        ready: list[Picture] = []
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


def pictures(path: Path) -> Iterator[Picture]:
    """One picture a second of a video; nothing for a file without pictures."""
    import av

    with av.open(str(path)) as container:
        if not has_video(container):
            return
        stream = container.streams.video[0]
        # One thread and no frames that nothing refers to: a small board has little memory and less time.
        stream.codec_context.thread_count = 1
        stream.codec_context.skip_frame = "NONREF"
        due = 0.0
        try:
            for decoded in container.decode(stream):
                at = float(decoded.time or 0.0)
                if at + 1e-6 >= due:
                    due = at + PICTURE_EVERY_S
                    yield Picture(round(at * AXIS_RATE), jpeg(decoded))
        except av.FFmpegError:
            return  # the sound goes on without


def jpeg(decoded: Any) -> bytes:
    """A decoded video frame as JPEG of at most `PICTURE_SIDE` pixels."""
    scale = min(PICTURE_SIDE / max(decoded.width, decoded.height), 1.0)
    width, height = (max(round(side * scale / 2) * 2, 2) for side in (decoded.width, decoded.height))
    small = decoded.reformat(width=width, height=height, format="rgb24")
    return Frame(small.to_ndarray()).jpeg()


def has_video(container: Any) -> bool:
    """Whether it moves: the cover of a song is a video stream, too."""
    return any(not stream.disposition & type(stream.disposition).attached_pic for stream in container.streams.video)


def keep_file(path: Path, spool: Spool, session_id: str, recording_id: str = "") -> Recording:
    """Copies a media file into the spool as it is. Raises SpoolFull, MediaError."""
    import av

    with av.open(str(path)) as container:
        kind: Literal["audio", "video"] = "video" if has_video(container) else "audio"
        rate = container.streams.audio[0].rate
    guessed = mimetypes.guess_type(path.name)[0] or ""
    media_type = guessed if guessed.startswith(("audio/", "video/")) else f"{kind}/x-unknown"
    meta = new_recording(
        kind, media_type, rate=rate, session_id=session_id, source=path.name, recording_id=recording_id
    )
    return spool.keep(path, meta)


def check_has_sound(path: Path, start: float = 0.0, end: float = float("inf")) -> None:
    """Raises MediaError for what is no media, has no audio track or is silent; stops at the first sound."""
    at = 0.0
    with AudioReader(path, AXIS_RATE) as reader:
        for block in reader.blocks(0.5):
            if start <= at < end and block.peak > SILENT:
                return
            at += block.duration
    raise NoSpeech(f"no speech found in {path}: it is silent; check the recording")


def check_time_points(path: Path, points: Sequence[float]) -> None:
    """Raises WrongUsage for one that lies behind the end of the file."""
    with AudioReader(path) as reader:
        duration = reader.duration
    if points and duration is not None and points[-1] >= duration:
        raise WrongUsage(f"--time-points: {points[-1]:g} s lies behind the end of {path}, which lasts {duration:.1f} s")


class NoSpeech(OpenOmniError):
    """Nothing was said."""


def parse_time_points(text: str) -> list[float]:
    """`MM:SS,MM:SS,…` in seconds, growing; hours (`HH:MM:SS`) and fractions (`00:04.5`) are fine. Raises WrongUsage."""
    points = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            fields = [float(field) for field in part.split(":")]
        except ValueError:
            fields = []
        if not 2 <= len(fields) <= 3 or min(fields) < 0 or max(fields[1:]) >= 60:
            raise WrongUsage(f"--time-points: {part!r} is no time; write MM:SS, as in 00:04,01:30")
        points.append(sum(field * 60**place for place, field in enumerate(reversed(fields))))
    if any(later <= earlier for earlier, later in pairwise(points)):
        raise WrongUsage("--time-points must grow from one to the next")
    return points


def _read(blocks: Iterator[Audio]) -> list[bytes]:
    return [block.pcm16() for block in islice(blocks, _READ_BLOCKS)]


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Waits for a thread even when cancelled: it must not find its file closed under its hands."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _until(stamp: float) -> None:
    wait = stamp - clock.now()
    if wait > 0:
        await asyncio.sleep(wait)
