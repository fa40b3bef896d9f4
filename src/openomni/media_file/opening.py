"""Opening a media file by what it holds, never by what its name says, and reading on behind what is damaged."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from .. import bounds
from ..errors import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet

log = logging.getLogger(__name__)

Told: TypeAlias = Callable[[str], None]
"""Takes a line for a person."""

MAX_TRACKS = 100
MAX_PIXELS = 7680 * 4320
"""Of one picture: 8K. Decoded it takes 150 MB."""
MAX_FRAME_SAMPLES = 1 << 20
FAILURES = 16
"""Times in a row that a file may fail to be read before the rest is given up."""
_OPTIONS = {
    "protocol_whitelist": "none",  # a playlist would have FFmpeg open what it names: other files, addresses
    "max_streams": str(MAX_TRACKS),
    "max_pixels": str(MAX_PIXELS),
    "max_samples": str(MAX_FRAME_SAMPLES),
}


class MediaFile:
    """An open audio or video file, to be read once. Use it as a context, or `close` it.

    `told` gets a line on each kind of thing that is not as it should be, once; by default that is logged. Raises
    `MediaError` with the mend for a file that is missing, empty or no media.
    """

    def __init__(self, path: str | Path, told: Told | None = None) -> None:
        import av

        self.path = Path(path)
        self.name = shown(path)
        self._told = told or log.warning
        self.damages = 0
        """How often a piece could not be decoded."""
        self._said: set[str] = set()
        self._file = _open(self.path, self.name)
        try:
            self.container: InputContainer = av.open(self._file, "r", options=_OPTIONS, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            self._file.close()
            reason = getattr(error, "strerror", None) or "Invalid data found when processing input"
            raise MediaError(
                f"{self.name} is no audio or video that FFmpeg can read ({reason}); convert it to WAV"
            ) from None
        if self.container.format.name == "tty":
            # FFmpeg draws any text file as a terminal's picture.
            self.close()
            raise MediaError(f"{self.name} is no audio or video but text; choose a recording")
        self.begins = (self.container.start_time or 0) / 1_000_000
        """Seconds on the file's own clock at which its earliest track begins."""

    @property
    def duration(self) -> float | None:
        """Seconds, as the container states them; None when it does not."""
        return self.container.duration / 1_000_000 if self.container.duration else None

    @property
    def is_still(self) -> bool:
        """Whether it is one picture, which lasts no time."""
        return self.container.format.name.endswith("_pipe") or self.container.format.name == "image2"

    def lasts(self, *streams: Any) -> float | None:
        """Seconds from the file's beginning to where its time stamps say that the last of these tracks ends, whatever
        its container states; None where they say nothing. Nothing is decoded, and nothing can be read afterwards."""
        end = 0.0
        for packet in self.packets(*streams):
            at = packet.dts if packet.pts is None else packet.pts
            if at is not None and not packet.is_corrupt and not self.is_still:
                ends = float((at + (packet.duration or 0)) * packet.time_base) - self.begins
                end = max(end, ends) if bounds.finite(ends) else end
        return end or None

    def decoded(self, *streams: Any) -> Iterator[tuple[Any, Any]]:
        """The frames of these tracks, each after its track. What FFmpeg can't decode is left out, and told."""
        for stream in streams:
            stream.codec_context.options = {name: _OPTIONS[name] for name in ("max_pixels", "max_samples")}
        for packet in self.packets(*streams):
            try:
                frames = packet.decode()
            except undecodable():
                self.damaged(None if packet.pts is None else float(packet.pts * packet.time_base) - self.begins)
                continue
            for frame in frames:
                yield packet.stream, frame

    def packets(self, *streams: Any) -> Iterator[Packet[Any]]:
        """What the container holds of these tracks, undecoded."""
        import av

        failures = 0
        while failures < FAILURES:
            try:
                for packet in self.container.demux(streams):
                    yield packet
                    failures = 0
                return
            except EOFError:
                return
            except (av.FFmpegError, OSError):
                failures += 1
                self.damaged(None)

    def seek(self, stream: Any, seconds: float) -> bool:
        """What is read next begins at, or soon before, this second of the file, where its container allows it."""
        import av

        try:
            self.container.seek(round((self.begins + seconds) / stream.time_base), stream=stream)
        except (av.FFmpegError, OSError, OverflowError):
            return False
        return True

    def seconds(self, frame: Any) -> float | None:
        """When a frame is due, in seconds from the file's beginning; None where it does not say."""
        time = frame.time
        return None if time is None else float(time) - self.begins

    def damaged(self, at: float | None) -> None:
        self.damages += 1
        where = "" if at is None else f" at {max(at, 0.0):.1f} s"
        self.tell(
            "damage", f"{self.name} is damaged{where}; what cannot be decoded is left out, the rest is in its place"
        )

    def tell(self, kind: str, line: str) -> None:
        """Tells it, unless something of the kind was told before."""
        if kind not in self._said:
            self._said.add(kind)
            self._told(line)

    def close(self) -> None:
        self.container.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def undecodable() -> tuple[type[Exception], ...]:
    """What FFmpeg raises where it can make nothing of a piece."""
    import av

    return av.FFmpegError, ValueError, MemoryError, OverflowError


def shown(path: str | Path) -> str:
    """A file's path as text that can be printed and sent, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "replace")


class _File(FileIO):
    def seek(self, offset: int, whence: int = 0, /) -> int:
        """A damaged file sends FFmpeg to places that there are not; it wants no exception then but a number."""
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError):
            return -1


def _open(path: Path, name: str) -> FileIO:
    """For FFmpeg, which would take a colon in a name for the end of a protocol, and `%03d` for a series of pictures."""
    if not path.is_file():
        raise MediaError(f"{name} is not a file; check the path")
    try:
        file = _File(path)
    except OSError as error:
        raise MediaError(f"{name} cannot be read ({error.strerror}); check its permissions") from None
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise MediaError(f"{name} is empty (0 bytes); copy or record it again")
    # Some formats are known by the end of the name alone.
    ending = re.search(r"\.[0-9A-Za-z]{1,10}$", name)
    file.name = f"media{ending.group() if ending else ''}"
    return file
