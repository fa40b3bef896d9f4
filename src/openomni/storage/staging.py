"""Where media arrive: a file a key on a local disk, growing as `<key>.part` until it is sealed by its checksum.

The checksum is taken while the bytes come, so sealing takes no longer for an hour than for a second.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from .folder import PART, key_path, make_folder, room, sync_folder
from .interface import ChecksumMismatch, NotStored, OffsetMismatch

DIGESTS = 1024
"""Growing files whose checksum is kept in memory; that of others is taken again from the disk when they are sealed."""


class Staging:
    """Growing files under the folder `root`, which is made when the first byte comes. All methods block.

    Several processes may write at once: an exclusive lock on the growing file keeps parts in order.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._digests = _Digests()

    def append(self, key: str, offset: int, data: bytes) -> int:
        """Appends `data` at `offset` and gives the size so far, once it would survive a power cut.

        Raises OffsetMismatch unless `offset` is the size so far and, for more than an empty part, the key is not
        sealed yet; StorageFull when there is no room.
        """
        with room(key, self.root), self._growing(key) as part:
            size = part.seek(0, os.SEEK_END) if part else self.size(key) or 0
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
            self._digests.add(key, offset, data)
            return size + len(data)

    def size(self, key: str) -> int | None:
        """Bytes so far; None where there is no such file."""
        for path in (self._path(key), self._part(key)):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                continue
        return None

    def seal(self, key: str, sha256: str, size: int) -> Path | None:
        """Ends a file of `size` bytes whose SHA-256 is `sha256` (hex), and gives its path; nothing is appended after
        that. None where nothing lies here: it was never begun, or handed on already.

        Raises OffsetMismatch while bytes are missing, ChecksumMismatch when they differ (they are dropped then).
        """
        path = self._path(key)
        with room(key, self.root), self._growing(key, make=False) as part:
            if part is None:
                return path if path.exists() else None
            received = part.seek(0, os.SEEK_END)
            if received < size:
                raise OffsetMismatch(key, size, received)
            found = self._digests.of(key, received) or sha256_of_file(self._part(key).open("rb"))
            self._digests.drop(key)
            if received != size or found != sha256.lower():
                part.truncate(0)
                os.fsync(part.fileno())
                raise ChecksumMismatch(
                    f"{key}: the {received} bytes received have the SHA-256 {found[:12]}…, "
                    f"not {sha256[:12]}… of {size} bytes; upload them again from 0"
                )
            self._part(key).replace(path)
            sync_folder(path.parent)
        return path

    def open(self, key: str) -> BinaryIO:
        """A seekable file of what is there, sealed or not. Raises NotStored."""
        # Twice, for a file that is sealed, and so renamed, between the two looks.
        for path in (self._path(key), self._part(key), self._path(key)):
            try:
                return path.open("rb")
            except FileNotFoundError:
                continue
        raise NotStored(f"no media are kept under {key}")

    def delete(self, key: str) -> None:
        """Forgets the key; nothing happens when it is not there."""
        path = self._path(key)
        self._digests.drop(key)
        path.unlink(missing_ok=True)
        self._part(key).unlink(missing_ok=True)
        if path.parent.exists():
            sync_folder(path.parent)

    def _path(self, key: str) -> Path:
        return key_path(self.root, key)

    def _part(self, key: str) -> Path:
        path = self._path(key)
        return path.with_name(path.name + PART)

    @contextmanager
    def _growing(self, key: str, make: bool = True) -> Iterator[FileIO | None]:
        """The growing file, ours alone, made where it is missing if it is to be; None for a key that is sealed, or
        of which nothing lies here."""
        path, part = self._path(key), self._part(key)
        while not path.exists():
            fresh = not part.exists()
            if fresh and not make:
                break
            make_folder(path.parent)
            try:
                descriptor = os.open(part, os.O_RDWR | (os.O_CREAT if make else 0), 0o640)
            except FileNotFoundError:
                continue  # sealed or deleted between the two looks
            with FileIO(descriptor, "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not _is_still(part, file):
                    continue  # sealed or deleted while we waited for the lock
                if path.exists():
                    part.unlink()
                    break
                if fresh:
                    sync_folder(path.parent)
                yield file
                return
        yield None


class _Digests:
    """Checksums of growing files, as far as all their bytes went through this process."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, Any]] = OrderedDict()
        self._lock = Lock()

    def add(self, key: str, offset: int, data: bytes) -> None:
        with self._lock:
            end, digest = self._known.pop(key, (0, None))
            if offset == 0:
                end, digest = 0, hashlib.sha256()
            if digest is None or end != offset:
                return
            self._known[key] = offset + len(data), digest
            while len(self._known) > DIGESTS:
                self._known.popitem(last=False)
        # The file's own lock is held here, so nobody else adds to this one.
        digest.update(data)

    def of(self, key: str, size: int) -> str:
        """The checksum of the first `size` bytes; empty where it isn't known."""
        with self._lock:
            end, digest = self._known.get(key, (-1, None))
        return digest.hexdigest() if digest is not None and end == size else ""

    def drop(self, key: str) -> None:
        with self._lock:
            self._known.pop(key, None)


def sha256_of_file(file: BinaryIO) -> str:
    """Of all of it; closes the file."""
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _is_still(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
