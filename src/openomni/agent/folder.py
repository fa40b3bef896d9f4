"""An agent's folder: what it has yet to send, what it fetched, and its name; no two agents share one."""

from __future__ import annotations

import fcntl
import platform
import re
import secrets
from pathlib import Path
from typing import IO, Self

from .. import folders
from ..errors import OpenOmniError

MOST = 64
"""Agents of one user on one machine that need no folder of their own named."""


class AgentFolder:
    """`spool` for replies, `journal` for records, `recordings` as a cache. Locked while this process lives."""

    def __init__(self, folder: Path, lock: IO[str]) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def claim(cls, folder: Path | None = None) -> Self:
        """That folder, or the first free one where the system keeps a user's data. Raises `OpenOmniError`."""
        if folder is not None:
            lock = _locked(folder)
            if lock is None:
                raise OpenOmniError(f"another agent works in {folder}; give this one its own --data-dir")
            return cls(folder, lock)
        base = folders.agents_data()
        for number in range(1, MOST + 1):
            lock = _locked(base / str(number))
            if lock is not None:
                return cls(base / str(number), lock)
        raise OpenOmniError(f"{MOST} agents work in {base} already; give this one its own --data-dir")

    @property
    def spool(self) -> Path:
        return self.folder / "replies"

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def recordings(self) -> Path:
        return self.folder / "recordings"

    @property
    def name(self) -> str:
        """The machine's name and four digits that stay with the folder."""
        kept = self.folder / "name"
        if not kept.exists():
            host = re.sub(r"[^A-Za-z0-9.-]+", "-", platform.node().partition(".")[0])[:40] or "agent"
            kept.write_text(f"{host}-{secrets.token_hex(2)}\n", encoding="utf-8")
        return kept.read_text(encoding="utf-8").strip()

    def close(self) -> None:
        self._lock.close()


def _locked(folder: Path) -> IO[str] | None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("w", encoding="utf-8")
    except OSError as error:
        raise OpenOmniError(f"{folder} can't be written ({error.strerror}); choose another --data-dir") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
