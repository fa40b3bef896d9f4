"""Replies as WAV files in a folder, one a turn, written as their sound arrives."""

from __future__ import annotations

import errno
import os
import wave
from pathlib import Path

from ..errors import OpenOmniError
from .wire import ReplyChunk


class ReplyFolder:
    """Writes `<turn_id>.wav` files into `folder`, which is made by `make`, or when the first sound comes."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._open: dict[str, wave.Wave_write] = {}

    def path(self, turn_id: str) -> Path:
        return self.folder / f"{turn_id}.wav"

    def make(self) -> None:
        """The folder itself, at once. Raises OpenOmniError where nothing can be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None
        if not os.access(self.folder, os.W_OK):
            raise self._unwritable(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def write(self, chunk: ReplyChunk) -> None:
        """Adds sound at its place: what is there already is left out, what is missing becomes silence."""
        try:
            out = self._open.get(chunk.turn_id) or self._start(chunk)
            missing = chunk.offset - out.getnframes()
            if missing > 0:
                out.writeframesraw(bytes(2 * missing))
            out.writeframesraw(chunk.pcm[2 * max(-missing, 0) :])
        except OSError as error:
            raise self._unwritable(error) from None

    def finish(self, turn_id: str) -> Path | None:
        """Closes the turn's file; None when it has none."""
        out = self._open.pop(turn_id, None)
        if out is not None:
            out.close()
        path = self.path(turn_id)
        return path if path.exists() else None

    def close(self) -> None:
        for turn_id in list(self._open):
            self.finish(turn_id)

    def _unwritable(self, error: OSError) -> OpenOmniError:
        return OpenOmniError(f"replies cannot be written to {self.folder} ({error.strerror}); choose another folder")

    def _start(self, chunk: ReplyChunk) -> wave.Wave_write:
        self.folder.mkdir(parents=True, exist_ok=True)
        out = wave.open(str(self.path(chunk.turn_id)), "wb")  # noqa: SIM115 (closed in `finish`)
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(chunk.rate)
        self._open[chunk.turn_id] = out
        return out
