"""Sealed media in a folder of a disk: a file a key."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO, cast

from .folder import PART, key_path, make_folder, room, sync_folder
from .interface import FilePart, NotStored


class Volume:
    """A `Store` under the folder `root`, which is made when the first file comes."""

    name = "volume"

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def put(self, key: str, file: Path) -> None:
        path = key_path(self.root, key)
        with room(key, self.root):
            make_folder(path.parent)
            try:
                file.replace(path)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _copy(file, path)
                file.unlink()
            sync_folder(path.parent)

    def size(self, key: str) -> int | None:
        try:
            return key_path(self.root, key).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, key: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        try:
            file = key_path(self.root, key).open("rb")
        except FileNotFoundError:
            raise NotStored(f"no media are kept under {key}") from None
        return file if start == 0 and stop is None else cast(BinaryIO, FilePart(file, start, stop))

    def url(self, key: str, seconds: float) -> str | None:
        """None: a folder serves nobody by itself."""
        return None

    def delete(self, key: str) -> None:
        path = key_path(self.root, key)
        path.unlink(missing_ok=True)
        if path.parent.exists():
            sync_folder(path.parent)


def _copy(file: Path, path: Path) -> None:
    """From another disk: under another name until it is whole."""
    partial = path.with_name(path.name + PART)
    try:
        with file.open("rb") as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
