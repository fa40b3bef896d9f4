"""Records on this machine's disk until the bus has them: a file each, in the order of writing, read again by whoever
comes after a process that died. All of it blocks: for a thread."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

KEPT, REFUSED, PARTIAL = ".record", ".refused", ".partial"
LIMIT = 2 << 30
"""Bytes that may wait in one folder: with the bus away, some hundred thousand turns."""


class Pending(msgspec.Struct):
    """A message on its way to the bus; `key` is its id there and its name here."""

    key: str
    subject: str
    data: bytes | None
    """None: it is in the journal alone."""
    size: int
    headers: dict[str, str] = {}
    file: Path | None = None
    over: bool = False
    """Nobody needs it any more: the bus has it, or it was refused."""


class Journal:
    """The records of one process in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def waiting(self) -> list[Pending]:
        """What an earlier process left, oldest first, without its contents."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = []
        for file in sorted(self.folder.glob(f"*{KEPT}")):
            with file.open("rb") as opened:
                head = opened.readline()
            try:
                subject, headers = _read_head(head)
            except ValueError as error:
                log.error("%s in the journal can't be read (%s); it is kept as %s", file, error, REFUSED)
                file.rename(file.with_suffix(REFUSED))
                continue
            found.append(Pending(file.stem, subject, None, file.stat().st_size - len(head), headers, file))
        for torn in self.folder.glob(f"*{PARTIAL}"):
            torn.unlink(missing_ok=True)
        return found

    def keep(self, batch: Iterable[Pending]) -> None:
        """On disk when this returns. What the disk does not take stays in memory, and is said."""
        kept = [pending for pending in batch if not pending.over and self._keep(pending)]
        if kept:
            _sync_folder(self.folder)

    def load(self, pending: Pending) -> bytes:
        """Raises OSError."""
        assert pending.file is not None
        _, _, data = pending.file.read_bytes().partition(b"\n")
        return data

    def refuse(self, key: str, data: bytes) -> None:
        """Keeps the whole of what can't be sent, for a person."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.folder / f"{key}{REFUSED}").write_bytes(data)
        except OSError as error:
            log.error("a record that is too large for the bus could not be kept either: %s", error)

    def forget(self, file: Path) -> None:
        file.unlink(missing_ok=True)

    def _keep(self, pending: Pending) -> bool:
        file = self.folder / f"{pending.key}{KEPT}"
        partial = file.with_suffix(PARTIAL)
        head = "\t".join([pending.subject, *([json.dumps(pending.headers)] if pending.headers else [])])
        try:
            with partial.open("wb") as opened:
                opened.write(head.encode() + b"\n" + (pending.data or b""))
                opened.flush()
                os.fsync(opened.fileno())
            partial.rename(file)
        except OSError as error:
            log.error("no journal for a record (%s); it is kept in memory until the bus takes it", error)
            return False
        pending.file = file
        if pending.over:  # by now: its writer saw no file yet
            self.forget(file)
        return True


def refused(folder: Path) -> list[Path]:
    """The records in a journal's folder that were too large for the bus, or unreadable: for the doctor."""
    return sorted(folder.glob(f"*{REFUSED}"))


def _read_head(head: bytes) -> tuple[str, dict[str, str]]:
    if not head.endswith(b"\n"):
        raise ValueError("its first line does not end")
    subject, _, headers = head[:-1].decode().partition("\t")
    return subject, json.loads(headers) if headers else {}


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        log.warning("the journal's folder could not be synced: %s", error)
    finally:
        os.close(handle)
