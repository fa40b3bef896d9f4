"""Media in a folder of a disk: a file a key, growing as `<key>.part` until it is sealed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from .interface import ChecksumMismatch, NotStored, OffsetMismatch, StorageError, StorageFull

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SEGMENT = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]{0,127}")
_PART = ".part"


class Volume:
    """A `Storage` under the folder `root`, which is made when the first byte comes.

    Several processes may write at once: an exclusive lock on the growing file keeps parts in order.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def write(self, key: str, offset: int, data: bytes) -> int:
        with self._room(key), self._growing(key) as part:
            size = part.seek(0, os.SEEK_END) if part else self.size(key)
            if offset != size or (part is None and data):
                raise OffsetMismatch(key, offset, size)
            if part is None:
                return size
            try:
                _write_all(part, data)
                os.fsync(part.fileno())
            except OSError:
                # Half a part must not be taken for acknowledged bytes by the next one.
                part.truncate(size)
                raise
            return size + len(data)

    def size(self, key: str) -> int:
        for path in (self._path(key), self._part(key)):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                continue
        return 0

    def finish(self, key: str, sha256: str, size: int) -> None:
        path = self._path(key)
        with self._room(key), self._growing(key) as part:
            if part is None:
                if _sha256(path) != sha256.lower():
                    raise StorageError(f"{key} is sealed with other bytes already; record under a new id")
                return
            received = part.seek(0, os.SEEK_END)
            if received < size:
                raise OffsetMismatch(key, size, received)
            found = _sha256(self._part(key))
            if received != size or found != sha256.lower():
                part.truncate(0)
                os.fsync(part.fileno())
                raise ChecksumMismatch(
                    f"{key}: the {received} bytes received have the SHA-256 {found[:12]}…, "
                    f"not {sha256[:12]}… of {size} bytes; upload them again from 0"
                )
            self._part(key).replace(path)
            _sync_folder(path.parent)

    def open(self, key: str) -> BinaryIO:
        # Twice, for a file that is sealed, and so renamed, between the two looks.
        for path in (self._path(key), self._part(key), self._path(key)):
            try:
                return path.open("rb")
            except FileNotFoundError:
                continue
        raise NotStored(f"no media are kept under {key}")

    def delete(self, key: str) -> None:
        path = self._path(key)
        path.unlink(missing_ok=True)
        self._part(key).unlink(missing_ok=True)
        if path.parent.exists():
            _sync_folder(path.parent)

    def _path(self, key: str) -> Path:
        segments = key.split("/")
        if key.endswith(_PART) or not all(_SEGMENT.fullmatch(segment) for segment in segments):
            raise StorageError(f"{key!r} is no storage key; take letters, digits, '-', '_' and '.', parted by '/'")
        return self.root.joinpath(*segments)

    def _part(self, key: str) -> Path:
        path = self._path(key)
        return path.with_name(path.name + _PART)

    @contextmanager
    def _growing(self, key: str) -> Iterator[FileIO | None]:
        """The growing file, ours alone and made where it is missing; None for a key that is sealed."""
        path, part = self._path(key), self._part(key)
        while not path.exists():
            _make_folder(path.parent)
            fresh = not part.exists()
            with FileIO(os.open(part, os.O_RDWR | os.O_CREAT, 0o640), "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not _is_still(part, file):
                    continue  # sealed or deleted while we waited for the lock
                if path.exists():
                    part.unlink()
                    break
                if fresh:
                    _sync_folder(path.parent)
                yield file
                return
        yield None

    @contextmanager
    def _room(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StorageFull(
                    f"no room left for {key} on the volume {self.root}; free some space, the upload goes on from there"
                ) from None
            raise StorageError(f"{key} can't be kept on the volume {self.root}: {error.strerror}") from error


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _is_still(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _make_folder(folder: Path) -> None:
    if folder.exists():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o750, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Makes a new name in the folder outlast a power cut, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
