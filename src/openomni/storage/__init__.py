"""Where media bytes live: one interface (`Storage`), a module for each kind of place."""

from __future__ import annotations

from .interface import ChecksumMismatch, NotStored, OffsetMismatch, Storage, StorageError, StorageFull

__all__ = ["ChecksumMismatch", "NotStored", "OffsetMismatch", "Storage", "StorageError", "StorageFull"]
