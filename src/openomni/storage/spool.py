"""What a device captured, on its own disk first: nothing is forgotten before the server acknowledged all of it.

A recording is two files in the spool's folder: `<id>.json`, which says what it is, written once, and `<id>.<suffix>`,
its bytes as they came. Whoever holds the lock on the first writes or uploads the second; a crash releases it, so what
a dead process left is simply uploaded by the next one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import time
import uuid
from asyncio import Event
from io import FileIO
from pathlib import Path
from typing import Literal

import msgspec

from .. import folders
from ..errors import OpenOmniError
from .api import RecordingMeta

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_encoder = msgspec.json.Encoder()


class SpoolFull(OpenOmniError):
    """No room left on the device's disk. What was captured before is still there."""


class Ticket(msgspec.Struct, kw_only=True):
    """The sidecar: what the recording is and whose. `server` and `token_id` say where it may be uploaded to; `project`
    does in the gateway's spool, which holds those of many clients."""

    meta: RecordingMeta
    suffix: str
    server: str = ""
    token_id: str = ""
    project: str = ""


class SpoolRecording:
    """A recording in the spool, held by this process until `forget` or `release`."""

    def __init__(self, ticket: Ticket, sidecar: Path, lock: FileIO, out: FileIO | None) -> None:
        self.ticket = ticket
        self.path = sidecar.with_suffix(ticket.suffix)
        self.ended = Event()
        """Set once no more bytes come."""
        self._sidecar = sidecar
        self._lock = lock
        self._out = out
        if out is None:
            self.ended.set()

    @property
    def id(self) -> str:
        return self.ticket.meta.recording_id

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, data: bytes) -> None:
        """Adds captured bytes. Raises SpoolFull; what was there before stays."""
        if self._out is None:
            raise ValueError(f"recording {self.id} has ended")
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._out.write(rest) :]
        except OSError as error:
            raise _no_room(self.path.parent, error) from error

    def write(self, data: bytes) -> int:
        """`append` for a writer that takes this for a file."""
        self.append(data)
        return len(data)

    def sync(self) -> None:
        """Makes what came so far outlast a power cut; takes long on some disks, so call it off the hot path."""
        if self._out is not None:
            os.fsync(self._out.fileno())

    def end(self) -> None:
        """No more bytes come. A second time changes nothing."""
        if self._out is not None:
            out, self._out = self._out, None
            try:
                os.fsync(out.fileno())
            finally:
                out.close()
                self.ended.set()

    def read(self, offset: int, count: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(count)

    def forget(self) -> None:
        """Deletes it: the server holds all of it."""
        self.end()
        # Data first: a sidecar alone is swept by the next `waiting`, data alone would lie here for ever.
        self.path.unlink(missing_ok=True)
        self._sidecar.unlink(missing_ok=True)
        self._lock.close()

    def release(self) -> None:
        """Leaves it for a later upload, by this process or another."""
        self.end()
        self._lock.close()


class Spool:
    """Recordings in a folder; by default where the system keeps a user's application state."""

    def __init__(self, folder: str | Path | None = None, server: str = "", token: str = "") -> None:
        self.folder = Path(folder) if folder else folders.spool()
        self.server = server
        self.token_id = token_id(token)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OpenOmniError(
                f"the spool {self.folder} cannot be made ({error.strerror}); choose another folder with --spool"
            ) from None

    def record(self, meta: RecordingMeta, suffix: str, project: str = "") -> SpoolRecording:
        """A new recording that grows by `append`. Raises SpoolFull."""
        try:
            sidecar, lock, ticket = self._open(meta, suffix, project)
            # Unbuffered: what `append` took is with the system, should this process die.
            out = sidecar.with_suffix(suffix).open("xb", buffering=0)
        except OSError as error:
            raise _no_room(self.folder, error) from error
        return SpoolRecording(ticket, sidecar, lock, out)

    def keep(self, path: Path, meta: RecordingMeta) -> SpoolRecording:
        """A recording that was made elsewhere, copied here as it is; the original is not touched. Raises SpoolFull."""
        suffix = path.suffix if path.suffix.isascii() and path.suffix else ".bin"
        copy: Path | None = None
        try:
            sidecar, lock, ticket = self._open(meta, suffix)
            copy = sidecar.with_suffix(suffix)
            shutil.copyfile(path, copy)
        except OSError as error:
            if copy is not None:
                copy.unlink(missing_ok=True)
            raise _no_room(self.folder, error) from error
        return SpoolRecording(ticket, sidecar, lock, None)

    def waiting(self, any_token: bool = False, any_server: bool = False) -> list[SpoolRecording]:
        """What was left to upload to this server by processes that are gone, oldest first.

        Only what was recorded with this token, which is to say for its project; with `any_token` all of the server.
        `any_server`: the folder belongs to one server, whose address may have changed.
        """
        found = []
        for sidecar in sorted(self.folder.glob("*.json"), key=_age):
            recording = _take(sidecar)
            if recording is None:
                continue
            mine = any_server or recording.ticket.server == self.server
            if not recording.path.exists() or (mine and recording.size == 0):
                recording.forget()
            elif mine and (any_token or recording.ticket.token_id == self.token_id):
                found.append(recording)
            else:
                recording.release()
        return found

    def _open(self, meta: RecordingMeta, suffix: str, project: str = "") -> tuple[Path, FileIO, Ticket]:
        ticket = Ticket(meta=meta, suffix=suffix, server=self.server, token_id=self.token_id, project=project)
        sidecar = self.folder / f"{meta.recording_id}.json"
        # Under another name until it is locked and whole, so that no other process takes it for abandoned.
        fresh = sidecar.with_suffix(".new")
        lock = fresh.open("xb", buffering=0)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            lock.write(_encoder.encode(ticket))
            os.fsync(lock.fileno())
            fresh.replace(sidecar)
        except OSError:
            fresh.unlink(missing_ok=True)
            lock.close()
            raise
        return sidecar, lock, ticket


def new_recording(
    kind: Literal["audio", "video", "reply", "picture"], media_type: str, *, rate: int | None = None,
    session_id: str = "", turn_id: str = "", source: str = "", recording_id: str = "",
) -> RecordingMeta:  # fmt: skip
    """A recording that starts now, with an id of its own unless it has one already."""
    return RecordingMeta(recording_id=recording_id or uuid.uuid4().hex, kind=kind, media_type=media_type, rate=rate,
                         started_at=time.time(), session_id=session_id, turn_id=turn_id, source=source)  # fmt: skip


def wav_header(rate: int, channels: int = 1) -> bytes:
    """The head of a 16-bit WAV whose length is not known yet: the sizes are left open, as for a WAV on a pipe."""
    frame = channels * 2
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, channels, rate,
                       rate * frame, frame, 16, b"data", 0xFFFFFFFF)  # fmt: skip


def token_id(token: str) -> str:
    """The public part of a token; empty for one of another form."""
    parts = token.strip().split("_")
    return parts[1] if len(parts) == 3 and parts[0] == "oo" else ""


def _take(sidecar: Path) -> SpoolRecording | None:
    """Locks what nobody holds; None for the rest."""
    try:
        lock = sidecar.open("rb", buffering=0)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock.fileno()).st_nlink:
            ticket = msgspec.json.decode(lock.read(), type=Ticket)
            return SpoolRecording(ticket, sidecar, lock, None)
    except (BlockingIOError, msgspec.MsgspecError):
        pass
    lock.close()
    return None


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _no_room(folder: Path, error: OSError) -> OpenOmniError:
    if error.errno in _NO_ROOM:
        return SpoolFull(f"the disk of the spool {folder} is full; what was captured is kept there and waits for "
                         "`openomni listen --resume-uploads`: free some space, or choose another --spool")  # fmt: skip
    return OpenOmniError(f"the spool {folder} cannot be written ({error.strerror}); choose another with --spool")
