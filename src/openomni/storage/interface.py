"""What a store of media does, whatever is behind it, and what can go wrong.

A key is a relative path such as `ward-3/2025/03/<recording id>.wav`.
"""

from __future__ import annotations

from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ..errors import OpenOmniError


class StorageError(OpenOmniError):
    """Media bytes that could not be kept or found; the message is one line."""


class StorageFull(StorageError):
    """No room left. What was acknowledged before is still there."""


class NotStored(StorageError):
    """Nothing is kept under that key."""


class OffsetMismatch(StorageError):
    """A part that does not start where the bytes so far end; go on from `received`."""

    def __init__(self, key: str, offset: int, received: int) -> None:
        super().__init__(f"{key}: {received} bytes are here, so the next part starts there and not at {offset}")
        self.received = received


class ChecksumMismatch(StorageError):
    """The bytes are not the ones that were promised; they were dropped, start again from 0."""


class Store(Protocol):
    """Keeps sealed media by key, here or elsewhere. All methods block."""

    name: str
    """Which store a recording says that it is in."""

    def put(self, key: str, file: Path) -> None:
        """Takes over a sealed file, and removes it from where it lay once it would survive a power cut here. Putting
        the same again is fine. Raises StorageFull, StorageError."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes under that key; None when there is no such key."""
        ...

    def open(self, key: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        """A file of the bytes from `start` up to `stop`, all by default; a whole one is seekable. Raises NotStored."""
        ...

    def url(self, key: str, seconds: float) -> str | None:
        """Where the bytes can be had without us for that long; None where they can't."""
        ...

    def delete(self, key: str) -> None:
        """Forgets the key; nothing happens when it is not there."""
        ...


class FilePart(RawIOBase):
    """The bytes of `file` from `start` up to `stop`; closes it."""

    def __init__(self, file: BinaryIO, start: int, stop: int | None) -> None:
        super().__init__()
        self._file = file
        self._left = None if stop is None else max(stop - start, 0)
        file.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = len(buffer) if self._left is None else min(len(buffer), self._left)
        data = self._file.read(count)
        buffer[: len(data)] = data
        if self._left is not None:
            self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
