"""Recorded sound for queued turns: fetched once, kept on disk at 16 kHz, read in the parts that are asked for."""

from __future__ import annotations

import asyncio
import os
import wave
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..media import Audio, AudioReader, Frame, frames
from ..storage.api import Api, Unreachable

KEPT_BYTES = 2 * 2**30
"""How much disk the cache takes before the longest unused files go."""
BLOCK_SECONDS = 10.0


class Recordings:
    """The cache in `folder`. An hour takes 115 MB on disk, and no more memory than a second does."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fetching: dict[str, asyncio.Task[Path]] = {}

    async def sound(self, recording_id: str, start: float, end: float) -> Audio:
        """From `start` to `end` (negative: to the end) in seconds, at 16 kHz.

        Raises `Unreachable` while the recording can't be had, `Refused` or `MediaError` when it never can.
        """
        path = await self.path(recording_id)
        return await asyncio.to_thread(_read, path, start, end)

    async def pictures(self, recording_id: str, start: float, end: float, every: float = 0.5) -> list[Frame]:
        """A video's frames between `start` and `end`, one each `every` seconds; none for a recording of sound."""
        original = (await self.path(recording_id)).with_suffix(".original")
        return await asyncio.to_thread(_frames, original, start, end, every)

    async def path(self, recording_id: str) -> Path:
        """A WAV of the whole, mono at 16 kHz; turns that ask at once share one download."""
        path = self._folder / f"{recording_id}.wav"
        if path.exists():
            os.utime(path)
            return path
        task = self._fetching.get(recording_id)
        if task is None:
            task = asyncio.create_task(self._fetch(recording_id, path), name=f"recording {recording_id}")
            self._fetching[recording_id] = task
            task.add_done_callback(lambda _: self._fetching.pop(recording_id, None))
        return await asyncio.shield(task)

    async def _fetch(self, recording_id: str, path: Path) -> Path:
        known = await self._api.get(f"/recordings/{recording_id}")
        if isinstance(known, dict) and known.get("status", "complete") != "complete":
            raise Unreachable(f"recording {recording_id} is still being uploaded; its turn is tried again later")
        original = await self._api.download(recording_id, path.with_suffix(".original"))
        try:
            await asyncio.to_thread(_decode, original, path)
        except OpenOmniError as error:
            original.unlink(missing_ok=True)
            raise type(error)(str(error).replace(str(original), f"recording {recording_id}")) from None
        await asyncio.to_thread(self._make_room, path)
        return path

    def _make_room(self, newest: Path) -> None:
        files = sorted(self._folder.iterdir(), key=lambda file: file.stat().st_mtime)
        held = sum(file.stat().st_size for file in files)
        for file in files:
            if held > KEPT_BYTES and file.stem != newest.stem:
                held -= file.stat().st_size
                file.unlink(missing_ok=True)


def blocks(path: Path) -> Iterator[Audio]:
    """A cached WAV in blocks."""
    with wave.open(str(path), "rb") as file:
        while data := file.readframes(round(BLOCK_SECONDS * AXIS_RATE)):
            yield Audio.from_pcm16(data, AXIS_RATE)


def _decode(original: Path, path: Path) -> None:
    part = path.with_suffix(".part")
    with AudioReader(original, AXIS_RATE) as reader, ExitStack() as closing:
        out = closing.enter_context(wave.open(str(part), "wb"))
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(AXIS_RATE)
        for block in reader.blocks(BLOCK_SECONDS):
            out.writeframes(block.pcm16())
    part.replace(path)


def _read(path: Path, start: float, end: float) -> Audio:
    with wave.open(str(path), "rb") as file:
        total = file.getnframes()
        first = min(max(round(start * AXIS_RATE), 0), total)
        last = total if end < 0 else min(round(end * AXIS_RATE), total)
        file.setpos(first)
        return Audio.from_pcm16(file.readframes(max(last - first, 0)), AXIS_RATE)


def _frames(path: Path, start: float, end: float, every: float) -> list[Frame]:
    found = []
    for frame in frames(path, every):
        if end >= 0 and frame.at >= end:
            break
        if frame.at >= start:
            found.append(frame)
    return found
