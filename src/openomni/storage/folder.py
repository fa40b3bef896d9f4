"""Keys as files in a folder: names that lead nowhere else, folders that outlast a power cut, disks that are full."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .interface import StorageError, StorageFull

PART = ".part"
"""What the name of a file that still grows ends with."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SEGMENT = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]{0,127}")


def key_path(root: Path, key: str) -> Path:
    """Where the file of this key is. Raises StorageError for what is none."""
    segments = key.split("/")
    if key.endswith(PART) or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise StorageError(f"{key!r} is no storage key; take letters, digits, '-', '_' and '.', parted by '/'")
    return root.joinpath(*segments)


def make_folder(folder: Path) -> None:
    if folder.exists():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o750, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes a new name in the folder outlast a power cut, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def room(key: str, root: Path) -> Iterator[None]:
    """What the disk says, in a line."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageFull(
                f"no room left for {key} on the volume {root}; free some space, the upload goes on from there"
            ) from None
        raise StorageError(f"{key} can't be kept on the volume {root}: {error.strerror}") from error
