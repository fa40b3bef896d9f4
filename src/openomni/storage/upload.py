"""From the spool to the server, in the background, until it acknowledges every byte."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

from .. import clock
from ..errors import OpenOmniError
from .api import Api, Faulty, NoRoom, Unreachable, WrongOffset, delays
from .spool import SpoolRecording

PART_BYTES = 256 * 1024
GROW_S = 8.0
"""How long to let a growing recording grow between two parts: a part costs the server the same however small it is, and
nothing is lost meanwhile, for the spool has it."""
LAST_TRY_S = 10.0
"""How long a server is waited for at the end that was away for long before: until it was tried once more."""
DISAGREEMENTS = 5
"""How often the server may hold other bytes than were sent before we stop and leave the recording in the spool."""


class Uploader:
    """Uploads what is added to it; use it as a context. What is not acknowledged when it ends stays in the spool.

    A server that is away is tried again for ever, ever less often. One that refuses a recording is not:
    `refused` tells why, and the recording stays in the spool. The person behind a patient `api` is told of both ends.
    """

    def __init__(self, api: Api, at_once: int = 2) -> None:
        self.trouble: OpenOmniError | None = None
        """Why nothing moves at present; None while it does."""
        self.refused: list[OpenOmniError] = []
        self.acknowledged = 0
        self._api = api
        self._line = asyncio.Semaphore(at_once)
        self._tasks: dict[asyncio.Task[OpenOmniError | None], SpoolRecording] = {}
        self._sent: dict[str, int] = {}
        self._troubled_at = 0.0

    @property
    def recordings(self) -> list[SpoolRecording]:
        """Those not acknowledged yet."""
        return list(self._tasks.values())

    @property
    def left_bytes(self) -> int:
        """Bytes on disk that the server has not acknowledged."""
        return sum(max(recording.size - self._sent.get(recording.id, 0), 0) for recording in self.recordings)

    def add(self, recording: SpoolRecording) -> asyncio.Task[OpenOmniError | None]:
        """Starts to upload it; it may still grow. The task ends once it is acknowledged, or gives why it is refused."""
        task = asyncio.create_task(self._keep_trying(recording))
        self._tasks[task] = recording
        task.add_done_callback(self._tasks.pop)
        return task

    async def drain(self, patience_s: float | None = None) -> bool:
        """Waits until nothing is left to upload; tells whether all that was added is acknowledged. With `patience_s`,
        gives up once the server was away for that long; one that is full or at fault, or that was away for long
        before, is tried once more."""
        began = clock.now()
        while self._tasks:
            await asyncio.wait(self._tasks, timeout=0.25, return_when=asyncio.FIRST_COMPLETED)
            if patience_s is None or self.trouble is None:
                continue
            patience = 0.0 if isinstance(self.trouble, (NoRoom, Faulty)) else patience_s
            if clock.now() > max(self._troubled_at + patience, began + min(patience_s, LAST_TRY_S)):
                return False
        return not self.refused

    async def _keep_trying(self, recording: SpoolRecording) -> OpenOmniError | None:
        waits, before = delays(), 0
        try:
            while True:
                try:
                    await self._upload(recording)
                    recording.forget()
                    self.trouble = None
                    self.acknowledged += 1
                    return None
                except Unreachable as error:
                    self._note(error)
                    if (sent := self._sent.get(recording.id, 0)) > before:
                        waits, before = delays(), sent
                    await asyncio.sleep(next(waits))
        except (OpenOmniError, OSError) as error:
            line = error if isinstance(error, OpenOmniError) else OpenOmniError(f"{recording.path}: {error.strerror}")
            self.refused.append(line)
            return line
        finally:
            self._sent.pop(recording.id, None)
            recording.release()

    def _note(self, error: Unreachable) -> None:
        if self.trouble is None:
            self._troubled_at = clock.now()
        self.trouble = error
        if not isinstance(error, (NoRoom, Faulty)):
            self._api.tell_away(error, "what was recorded is kept, and goes up when it is back")

    async def _upload(self, recording: SpoolRecording) -> None:
        # After a break or a restart that is not where we think.
        offset, disagreements = await self._api.create(recording.ticket.meta), 0
        while offset <= recording.size and disagreements < DISAGREEMENTS:
            try:
                checksum = _Checksum()
                offset, sealed = await self._send(recording, offset, checksum)
                if not sealed:
                    whole = await asyncio.to_thread(checksum.of, recording.path)
                    await self._api.finish(recording.id, whole, offset)
                return
            except WrongOffset as elsewhere:
                offset, disagreements = elsewhere.received, disagreements + 1
        raise OpenOmniError(
            f"recording {recording.id}: the server holds other bytes under this id; "
            f"what was captured stays in {recording.path}"
        )

    async def _send(self, recording: SpoolRecording, offset: int, checksum: _Checksum) -> tuple[int, bool]:
        """Sends what there is from `offset` on until the recording has ended; gives its size, and whether the server
        has sealed it by its last part."""
        while True:
            ended = recording.ended.is_set()
            data = await asyncio.to_thread(recording.read, offset, PART_BYTES)
            if data:
                checksum.add(offset, data)
                whole = checksum.of_all(offset + len(data)) if ended and len(data) < PART_BYTES else ""
                async with self._line:
                    offset, sealed = await self._api.write(recording.id, offset, data, whole)
                self._sent[recording.id] = offset
                self.trouble = None
                if sealed:
                    return offset, True
            elif ended:
                return offset, False
            if len(data) < PART_BYTES and not ended:
                await _ended_within(recording, GROW_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ended_within(recording: SpoolRecording, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await recording.ended.wait()
    except TimeoutError:
        return


class _Checksum:
    """SHA-256 of a recording, taken while its parts are read to be sent."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._end = 0

    def add(self, offset: int, data: bytes) -> None:
        if offset == self._end:
            self._hash.update(data)
            self._end += len(data)

    def of_all(self, size: int) -> str:
        """Of so many bytes, where all of them came by; else empty."""
        return self._hash.hexdigest() if self._end == size else ""

    def of(self, path: Path) -> str:
        """Of the whole file: what an earlier run sent is read again here."""
        with path.open("rb") as file:
            file.seek(self._end)
            if self._end == 0:
                return hashlib.file_digest(file, "sha256").hexdigest()
            while data := file.read(PART_BYTES):
                self._hash.update(data)
        return self._hash.hexdigest()
