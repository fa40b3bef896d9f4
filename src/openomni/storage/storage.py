"""Both halves together: what still comes is on the local disk, what is whole is in the store."""

from __future__ import annotations

from typing import BinaryIO

from .interface import NotStored, OffsetMismatch, StorageError, Store
from .staging import Staging, sha256_of_file


class Storage:
    """Keeps media by key: bytes arrive in order, at offsets, over days if need be; `finish` seals them and hands them
    to the store. All methods block; a failed one leaves what was acknowledged as it was."""

    def __init__(self, staging: Staging, store: Store) -> None:
        self.staging, self.store = staging, store

    def write(self, key: str, offset: int, data: bytes) -> int:
        """Appends `data` at `offset` and gives the size so far, once it would survive a power cut.

        Raises OffsetMismatch unless `offset` is the size so far and, for more than an empty part, the key is not
        sealed yet; StorageFull when there is no room.
        """
        if self.staging.size(key) is None and (stored := self.store.size(key)) is not None:
            if offset != stored or data:
                raise OffsetMismatch(key, offset, stored)
            return stored
        return self.staging.append(key, offset, data)

    def size(self, key: str) -> int:
        """Bytes kept so far; 0 when there are none."""
        # Twice, for one that is handed over between the two looks.
        for look in (self.staging.size, self.store.size, self.staging.size):
            if (size := look(key)) is not None:
                return size
        return 0

    def finish(self, key: str, sha256: str, size: int) -> None:
        """Seals `size` bytes whose SHA-256 is `sha256` (hex); nothing is appended after that. Sealing twice is fine.

        Raises OffsetMismatch while bytes are missing, ChecksumMismatch when they differ (they are dropped then).
        """
        sealed = self.staging.seal(key, sha256, size)
        if sealed is not None:
            try:
                self.store.put(key, sealed)
                return
            except StorageError:
                if self.store.size(key) is None:
                    raise
        stored = self.store.size(key)
        if stored is None:
            raise OffsetMismatch(key, size, 0)
        if stored != size or sha256_of_file(self.store.open(key)) != sha256.lower():
            raise StorageError(f"{key} is sealed with other bytes already; record under a new id")

    def open(self, key: str) -> BinaryIO:
        """A seekable file of what is there, finished or not. Raises NotStored."""
        for look in (self.store.open, self.staging.open):
            try:
                return look(key)
            except NotStored:
                continue
        return self.store.open(key)

    def delete(self, key: str) -> None:
        """Forgets the key; nothing happens when it is not there."""
        self.staging.delete(key)
        self.store.delete(key)
