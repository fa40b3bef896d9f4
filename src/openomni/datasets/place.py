"""The folder that a dataset lies in: a door, behind which nothing is read that does not lie in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ..bounds import storable
from ..errors import MediaError
from .problems import Problems, shown
from .samples import MAX_PATH

MEDIA = frozenset((
    ".3gp", ".aac", ".aif", ".aiff", ".amr", ".au", ".avi", ".caf", ".flac", ".flv", ".m4a", ".m4v", ".mka",
    ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".sph",
    ".ts", ".w64", ".wav", ".webm", ".wma", ".wmv",
))  # fmt: skip
"""Endings of files that hold sound, for those that no row names; what a row names may end as it likes."""
MAX_FILES = 500_000
"""Looked at in one folder."""
MAX_MANIFEST = 1 << 30
"""Bytes of one manifest, unpacked."""


class Place:
    """A dataset's folder, or one file of it: then its folder is that of the file.

    `given` is the path as the caller has it, `root` the folder with all its links followed: the caller may come
    through a link, the dataset's own may not lead out. Raises MediaError where there is nothing to be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.given = Path(path)
        try:
            real = self.given.resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise MediaError(f"it cannot be read ({reason}); check the path") from None
        self.file: str | None = None
        """The name of the one file that was given, in `root`; None where a folder was."""
        if real.is_file():
            self.root, self.file = real.parent, real.name
        elif real.is_dir():
            self.root = real
        else:
            raise MediaError("it is neither a folder nor a file; check the path")
        self.named: set[str] = set()
        """Media that rows name."""
        self.spare: set[str] = set()
        """Media that no row names, and that belong to the layout: the same in another form."""
        self._files: list[str] | None = None

    def files(self) -> list[str]:
        """All files in the folder, relative with `/`, sorted; without hidden ones, and without what lies behind links
        to folders."""
        if self._files is None:
            self._files = sorted(self._walk())
        return self._files

    def find(self, ending: str | tuple[str, ...], *, under: str = "") -> list[str]:
        """Those of `files` that end so, whatever the case; the one that was given, where it was one."""
        endings = (ending,) if isinstance(ending, str) else ending
        names = [self.file] if self.file is not None else self.files()
        return [name for name in names if name.lower().endswith(endings) and name.startswith(under)]

    def _walk(self) -> Iterator[str]:
        count = 0
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            base = Path(folder).relative_to(self.root)
            for name in names:
                count += 1
                if count > MAX_FILES:
                    return
                if not name.startswith("."):
                    yield (base / name).as_posix()

    def real(self, name: str) -> Path | None:
        """Where a file named so, relative to the folder, really lies; None where that is outside, or nowhere."""
        try:
            path = (self.root / name).resolve()
        except (OSError, ValueError, RuntimeError):
            return None
        return path if path.is_relative_to(self.root) else None

    def has(self, name: str) -> bool:
        path = self.real(name)
        try:
            return path is not None and path.is_file()
        except (OSError, ValueError):
            return False

    def open(self, name: str) -> BinaryIO:
        """A manifest's bytes. Raises MediaError for one that lies outside, or is no file that can be read."""
        path = self.real(name)
        if path is None:
            raise MediaError("it leads out of the dataset's folder; put the file itself there")
        try:
            if not path.is_file():
                raise MediaError("it is not a file; check it")
            return path.open("rb")
        except (OSError, ValueError) as error:
            raise MediaError(
                f"it cannot be read ({getattr(error, 'strerror', error)}); check its permissions"
            ) from None

    def media(self, name: object, where: str, problems: Problems, *, base: str = "") -> str | None:
        """The path of the media file that a row names, relative to the root, as `Sound.path` has it; None, and listed,
        where it is none in this folder. `base` is the manifest's folder, which is tried first."""
        if not isinstance(name, str) or not name.strip() or not storable(name):
            problems.error("row", where, f"{shown(name)} is no path; write the file's, relative to the manifest")
            return None
        if "://" in name:
            problems.error("outside", where, f"{shown(name)} is an address; fetch the file and write its path")
            return None
        tries = [name] if PurePosixPath(name).is_absolute() else list(dict.fromkeys((_join(base, name), name)))
        inside = [path for path in map(self._relative, tries) if path is not None]
        if not inside:
            problems.error(
                "outside",
                where,
                f"{shown(name)} leads out of the dataset's folder, and nothing there is read; "
                "copy the file into the folder and write its path relative",
            )
            return None
        path = next(filter(self.has, inside), None)
        if path is None:
            slash = " (paths are written with /)" if "\\" in name else ""
            problems.error("missing", where, f"{shown(name)} is not there{slash}; add the file or take the row out")
            return None
        if len(path) > MAX_PATH:
            problems.error("bounds", where, f"{shown(name)} is longer than {MAX_PATH} characters; shorten it")
            return None
        self.named.add(path)
        return path

    def _relative(self, name: str) -> str | None:
        """The name within the root, links in it unfollowed, where both it and what it really is lie inside."""
        real = self.real(name)
        if real is None:
            return None
        path = os.path.relpath(os.path.normpath(self.root / name), self.root)
        if path == ".." or path.startswith("../"):
            # The caller's way to the folder may lead through a link, and a whole path in a row along the same.
            path = real.relative_to(self.root).as_posix()
        return path

    def unnamed(self) -> list[str]:
        """Media in the folder that no row names; none are looked for where one file was given."""
        if self.file is not None:
            return []
        known = self.named | self.spare
        real = {self.real(name) for name in self.named}
        return [
            name
            for name in self.files()
            if PurePosixPath(name).suffix.lower() in MEDIA and name not in known and self.real(name) not in real
        ]


def _join(base: str, name: str) -> str:
    return f"{base}/{name}" if base not in ("", ".") else name


def folder_of(name: str) -> str:
    """The folder of a file in the root, as `Place.media` takes it for `base`."""
    parent = PurePosixPath(name).parent.as_posix()
    return "" if parent == "." else parent


def stem(name: str) -> str:
    """The path without its last ending."""
    return PurePosixPath(name).with_suffix("").as_posix() if PurePosixPath(name).suffix else name
