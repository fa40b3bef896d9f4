"""What a bus needs whose disk was full: its server keeps the first error of a stream's file for good, and takes nothing
more for that stream, however much room there is by then, until it is started again.

Nobody else tells: whoever publishes gets no answer. So its log is looked at.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import OpenOmniError

log = logging.getLogger(__name__)

LOOK_S = 5.0
ROOM = 16 << 20
"""Bytes that must be free before it is worth to start it again."""
PIECE = 1 << 20
"""Of a log that grew by more, the end is looked at."""
FAILED = b"failed to store a msg"


class StoreWatch:
    """Looks after the store of a server that logs to `log_file`. `start_again`: ends it for its keeper to start it
    anew; what waits to be stored is sent again by whoever has it."""

    def __init__(self, log_file: Path, start_again: Callable[[], None]) -> None:
        self._log_file, self._start_again = log_file, start_again
        self._seen = _size(log_file)
        self._broken = False

    async def keep(self) -> None:
        """For ever. Raises OpenOmniError while nothing can be stored for want of room, to be called again."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Once."""
        self._broken = self._failed() or self._broken
        if not self._broken:
            return
        free = shutil.disk_usage(self._log_file.parent).free
        if free < ROOM:
            raise OpenOmniError(
                f"nothing can be stored: {free >> 20} MiB are free at {self._log_file.parent}; free some, and what "
                "waits is stored"
            )
        log.warning("the bus could not write to its disk, and now can; it is started again")
        self._broken = False
        self._start_again()

    def _failed(self) -> bool:
        """Whether it logged so since the last look."""
        size = _size(self._log_file)
        since = self._seen if self._seen <= size else 0  # it began a new file
        self._seen = size
        if size == since:
            return False
        with self._log_file.open("rb") as file:
            file.seek(max(since, size - PIECE))
            return FAILED in file.read(PIECE)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
