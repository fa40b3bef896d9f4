"""Recorded sound for queued turns: fetched once, kept on disk at 16 kHz, read in the parts that are asked for."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import wave
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..bounds import MAX_PICTURE_BYTES
from ..errors import MediaError
from ..events import AXIS_RATE
from ..media import Audio, AudioReader, Frame
from ..media_file import SHOWN_SIDE, MediaFile, moving, pictures, upright
from ..records import FrameRecord
from ..storage.api import Api, Unreachable

KEPT_BYTES = 2 * 2**30
"""How much disk the cache takes before the longest unused files go."""
PICTURE_BYTES = 512 * 2**20
"""What the pictures of one turn take at most in memory: 80 of 1080p."""
BLOCK_SECONDS = 10.0
AS_ONE_S = 0.001
"""Seconds between a picture's place in its file and that on a session's axis, which counts in samples."""
ORIGINAL, TRACKS = ".original", ".tracks"


class _Tracks(msgspec.Struct):
    """Which of a file's tracks are meant."""

    audio: int | None = None
    video: int | None = None


class _Part(NamedTuple):
    """What of a recording is heard."""

    recording_id: str
    track: int | None
    channel: int | None

    @property
    def file(self) -> str:
        """The name of its WAV."""
        if self.track is None and self.channel is None:
            return f"{self.recording_id}.wav"
        return f"{self.recording_id}.{self.track or 0}-{self.channel or 0}.wav"


class Recordings:
    """The cache in `folder`. An hour takes 115 MB on disk, and no more memory than a second does."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._in_use: Counter[str] = Counter()
        self._choosing = threading.Lock()
        """What is in use, and what goes, is decided by one thread at a time."""

    async def sound(
        self, recording_id: str, start: float, end: float, track: int | None = None, channel: int | None = None
    ) -> Audio:
        """From `start` to `end` (negative: to the end) in seconds, at 16 kHz; of one `track`, rather than the one that
        its recorder meant, and of one `channel`, rather than the mix of all, both from 1.

        Raises `Unreachable` while the recording can't be had, `Refused` or `MediaError` when it never can.
        """
        async with self.held(recording_id, track=track, channel=channel) as path:
            return await asyncio.to_thread(_read, path, start, end)

    async def pictures(self, recording_id: str, start: float, end: float, every: float = 0.5) -> list[Frame]:
        """A video's frames between `start` and `end`, one each `every` seconds, or fewer of a long stretch; none for a
        recording of sound. Raises as `sound` does."""
        async with self.held(recording_id, original=True) as path:
            return await asyncio.to_thread(_frames, path.with_suffix(ORIGINAL), start, end, every)

    async def shown(self, recording_id: str, wanted: Sequence[FrameRecord]) -> dict[str, Frame]:
        """Those of the `wanted` pictures that a recording has, by their SHA-256. Raises as `sound` does."""
        async with self.held(recording_id, original=True, sound=False) as path:
            return await asyncio.to_thread(_find, path.with_suffix(ORIGINAL), wanted)

    @asynccontextmanager
    async def held(
        self,
        recording_id: str,
        original: bool = False,
        sound: bool = True,
        track: int | None = None,
        channel: int | None = None,
    ) -> AsyncIterator[Path]:
        """A WAV of the whole, mono at 16 kHz, with `original` beside it the file as it was captured, without `sound`
        that alone; neither leaves the disk before the end. Turns that ask at once share one download. Of another
        `track` or `channel` there is another WAV."""
        part = _Part(recording_id, track, channel)
        path = self._folder / part.file
        wanted = [path] * sound + [self._folder / f"{recording_id}{ORIGINAL}"] * original
        with self._choosing:
            self._in_use[recording_id] += 1
        try:
            while not all(file.exists() for file in wanted):
                await self._fetched(part, sound)
            for file in wanted:
                os.utime(file)
            yield path
        finally:
            self._in_use -= Counter([recording_id])

    async def _fetched(self, part: _Part, sound: bool) -> None:
        recording_id = part.recording_id
        task = self._fetching.get(recording_id)
        if task is not None and task.get_name() != part.file:
            await asyncio.wait([task])  # another track of it; what is wrong with that is not ours
            return
        if task is None:
            task = asyncio.create_task(self._fetch(part, sound), name=part.file)
            self._fetching[recording_id] = task
            task.add_done_callback(lambda _: self._fetching.pop(recording_id, None))
        await asyncio.shield(task)

    async def _fetch(self, part: _Part, sound: bool) -> None:
        recording_id = part.recording_id
        path = self._folder / f"{recording_id}.wav"
        known = await self._api.get(f"/recordings/{recording_id}")
        if isinstance(known, dict) and known.get("status", "complete") != "complete":
            raise Unreachable(f"recording {recording_id} is still being uploaded; its turn is tried again later")
        original = path.with_suffix(ORIGINAL)
        if not original.exists():
            await self._api.download(recording_id, original)
        tracks = _Tracks(_number(known, "audio_track"), _number(known, "video_track"))
        path.with_suffix(TRACKS).write_bytes(msgspec.json.encode(tracks))
        try:
            if sound:
                await asyncio.to_thread(_decode, original, self._folder / part.file, part, tracks.audio)
        except MediaError as error:
            original.unlink(missing_ok=True)
            raise MediaError(str(error).replace(str(original), f"recording {recording_id}")) from None
        await asyncio.to_thread(self._make_room)

    def _make_room(self) -> None:
        """The files of one recording go together: the longest unused first, never one that is in use or on its way."""
        of: dict[str, list[tuple[Path, os.stat_result]]] = {}
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):
                of.setdefault(file.name.partition(".")[0], []).append((file, file.stat()))
        held = sum(stat.st_size for files in of.values() for _, stat in files)
        for recording_id, files in sorted(of.items(), key=lambda item: max(stat.st_mtime for _, stat in item[1])):
            with self._choosing:
                if held > KEPT_BYTES and not self._in_use[recording_id]:
                    held -= sum(stat.st_size for _, stat in files)
                    for file, _ in files:
                        file.unlink(missing_ok=True)


def blocks(path: Path, start: float = 0.0, end: float = -1.0) -> Iterator[Audio]:
    """A cached WAV in blocks, from `start` to `end` seconds (`end` < 0: all of the rest)."""
    with wave.open(str(path), "rb") as file:
        first, last = _span(file.getnframes(), start, end)
        file.setpos(first)
        while (left := last - file.tell()) > 0:
            yield Audio.from_pcm16(file.readframes(min(round(BLOCK_SECONDS * AXIS_RATE), left)), AXIS_RATE)


def _decode(original: Path, path: Path, wanted: _Part, meant: int | None) -> None:
    """`meant`: the track that is heard where none is `wanted`."""
    part = path.with_suffix(".part")
    track = meant if wanted.track is None else wanted.track
    with AudioReader(original, AXIS_RATE, track=track, channel=wanted.channel) as reader, ExitStack() as closing:
        out = closing.enter_context(wave.open(str(part), "wb"))
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(AXIS_RATE)
        for block in reader.blocks(BLOCK_SECONDS):
            out.writeframes(block.pcm16())
    part.replace(path)


def _read(path: Path, start: float, end: float) -> Audio:
    with wave.open(str(path), "rb") as file:
        first, last = _span(file.getnframes(), start, end)
        file.setpos(first)
        return Audio.from_pcm16(file.readframes(max(last - first, 0)), AXIS_RATE)


def _span(total: int, start: float, end: float) -> tuple[int, int]:
    """The samples of a file of so many that lie between two seconds of it."""
    first = min(max(round(start * AXIS_RATE), 0), total)
    return first, total if end < 0 else max(min(round(end * AXIS_RATE), total), first)


def _frames(path: Path, start: float, end: float, every: float) -> list[Frame]:
    """Where they would be too many, every other one is let go, and so on."""
    with MediaFile(path) as file:
        if (stream := moving(file, _tracks(path).video)) is None:
            return []
        found: list[Frame] = []
        due = start
        for at, picture in pictures(file, stream, every):
            if 0 <= end <= at:
                break
            if at + 1e-6 >= due:
                found.append(Frame(upright(picture), at))
                if sum(frame.pixels.nbytes for frame in found) > PICTURE_BYTES:
                    found, every = found[::2], 2 * every
                due = found[-1].at + every
        return found


def _find(path: Path, wanted: Sequence[FrameRecord]) -> dict[str, Frame]:
    """Pictures that a client showed as JPEG lie in the file as they are; of others the one of the same moment is taken,
    encoded as whoever showed it did."""
    due = {each.sha256: each.at / AXIS_RATE for each in wanted}
    found: dict[str, Frame] = {}
    if path.stat().st_size <= MAX_PICTURE_BYTES and (name := hashlib.sha256(path.read_bytes()).hexdigest()) in due:
        return {name: Frame.from_jpeg(path.read_bytes(), due[name])}  # it is the picture itself
    with MediaFile(path) as file:
        if (stream := moving(file, _tracks(path).video)) is None:
            return found
        if stream.codec_context.name == "mjpeg":
            for packet in file.container.demux(stream):
                jpeg = bytes(packet)
                if (name := hashlib.sha256(jpeg).hexdigest()) in due:
                    found[name] = Frame.from_jpeg(jpeg, due[name])
            return found
        for at, picture in pictures(file, stream, 0.0):
            for moment in {moment for moment in due.values() if abs(at - moment) < AS_ONE_S}:
                for side in (upright(picture), upright(picture, SHOWN_SIDE)):
                    frame = Frame(side, moment)
                    if (name := hashlib.sha256(frame.jpeg()).hexdigest()) in due:
                        found[name] = frame
            if len(found) == len(due) or at > max(due.values()) + AS_ONE_S:
                break
    return found


def _tracks(path: Path) -> _Tracks:
    """As told with the recording; what an earlier release fetched leaves the choice to us."""
    try:
        return msgspec.json.decode(path.with_suffix(TRACKS).read_bytes(), type=_Tracks)
    except (OSError, msgspec.MsgspecError):
        return _Tracks()


def _number(known: object, name: str) -> int | None:
    found = known.get(name) if isinstance(known, dict) else None
    return found if isinstance(found, int) else None
