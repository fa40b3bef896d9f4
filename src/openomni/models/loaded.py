"""Which files a component loaded, and what is in them: each by its SHA-256, read once while it stays as it is."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

from .catalogue import cache_folder

log = logging.getLogger(__name__)

STAMP = ".checked.json"
"""In a model's folder: what its files were when they were checked against the catalogue."""
MOST_FILES = 1000
_noted: ContextVar[set[Path] | None] = ContextVar("noted", default=None)


class LoadedFile(msgspec.Struct, frozen=True):
    """`size` in bytes; `name` is that within the folder that was loaded."""

    name: str
    sha256: str
    size: int


@contextmanager
def noting() -> Iterator[set[Path]]:
    """What is loaded within the block, in this thread: filled as `note` is called."""
    paths: set[Path] = set()
    token = _noted.set(paths)
    try:
        yield paths
    finally:
        _noted.reset(token)


def note(path: Path) -> Path:
    """Says that a file, or all of a folder, is loaded; gives it back."""
    if (paths := _noted.get()) is not None:
        paths.add(path)
    return path


def contents(paths: Iterable[Path]) -> list[LoadedFile]:
    """Of the files at these paths, and in these folders, in the order of their names. Blocks while it reads."""
    known = _Known.load()
    found = []
    for path in paths:
        for file, name in _files(path):
            try:
                found.append(known.content(file, name))
            except OSError as error:
                log.warning("%s can't be read (%s): builds are told without it", file, error.strerror)
    known.save()
    return sorted(found, key=lambda each: (each.name, each.sha256))


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file() and file.name != STAMP)
        if len(inside) > MOST_FILES:
            log.warning("%s holds %d files, too many for a model: builds are told without them", path, len(inside))
            return
        for file in inside:
            yield file, str(file.relative_to(path))
    elif path.is_file():
        yield path, path.name


class _Known:
    """Hashes of earlier, by path, size and time of change; kept beside the models, where that can be written."""

    def __init__(self, file: Path, hashes: dict[str, list[Any]]) -> None:
        self._file, self._hashes, self._new = file, hashes, False

    @classmethod
    def load(cls) -> _Known:
        file = cache_folder() / ".hashes.json"
        try:
            hashes = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            hashes = {}
        return cls(file, hashes if isinstance(hashes, dict) else {})

    def content(self, file: Path, name: str) -> LoadedFile:
        real, now = str(file.resolve()), file.stat()
        as_it_is = [now.st_size, now.st_mtime_ns]
        kept = self._hashes.get(real)
        if isinstance(kept, list) and kept[:2] == as_it_is and len(kept) == 3:
            return LoadedFile(name, kept[2], now.st_size)
        sha256 = _stamped(file, now.st_mtime_ns) or _sha256(file)
        self._hashes[real], self._new = [*as_it_is, sha256], True
        return LoadedFile(name, sha256, now.st_size)

    def save(self) -> None:
        if not self._new:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part = self._file.with_suffix(".part")
            part.write_text(json.dumps(self._hashes), "utf-8")
            part.replace(self._file)
        except OSError as error:
            log.info("hashes of models are not kept in %s: %s", self._file.parent, error.strerror)


def _stamped(file: Path, changed: int) -> str:
    """What the catalogue pins it to, where it was checked since it last changed."""
    try:
        stamp = json.loads((file.parent / STAMP).read_text("utf-8"))[file.name]
        return str(stamp["sha256"]) if stamp["changed"] == changed else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
