"""Where media bytes live: a local staging area where they arrive, and a store behind it; `Storage` is both."""

from __future__ import annotations

from .interface import ChecksumMismatch, NotStored, OffsetMismatch, StorageError, StorageFull, Store

__all__ = ["ChecksumMismatch", "NotStored", "OffsetMismatch", "StorageError", "StorageFull", "Store"]
