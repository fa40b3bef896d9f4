"""What a place for media bytes does, whatever is behind it.

A key is a relative path such as `ward-3/2025/03/<recording id>.wav`. Bytes arrive in order, at offsets, over days if
need be; `finish` seals them once their checksum agrees. What is not finished yet can be read all the same.
"""

from __future__ import annotations

from typing import BinaryIO, Protocol

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


class Storage(Protocol):
    """Keeps media by key. All methods block; a failed one leaves what was acknowledged as it was."""

    def write(self, key: str, offset: int, data: bytes) -> int:
        """Appends `data` at `offset` and gives the size so far, once it would survive a power cut.

        Raises OffsetMismatch unless `offset` is the size so far and, for more than an empty part, the key is not
        sealed yet; StorageFull when there is no room.
        """
        ...

    def size(self, key: str) -> int:
        """Bytes kept so far; 0 when there are none."""
        ...

    def finish(self, key: str, sha256: str, size: int) -> None:
        """Seals `size` bytes whose SHA-256 is `sha256` (hex); nothing is appended after that. Sealing twice is fine.

        Raises OffsetMismatch while bytes are missing, ChecksumMismatch when they differ (they are dropped then).
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """A seekable file of what is there, finished or not. Raises NotStored."""
        ...

    def delete(self, key: str) -> None:
        """Forgets the key; nothing happens when it is not there."""
        ...
