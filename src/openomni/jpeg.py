"""One picture as JPEG: how large it is by its header, and its pixels."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .bounds import MAX_PICTURE_BYTES, MAX_PICTURE_SIDE, MAX_PIXELS
from .errors import MediaError
from .lazy import Lazy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Lazy("numpy")

_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a segment."""
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of the segment that says how large the picture is."""
_SCAN = 0xDA


def size(data: bytes) -> tuple[int, int]:
    """Width and height, read without decoding. Raises `MediaError` for no JPEG, and for one too large to be decoded."""
    if len(data) > MAX_PICTURE_BYTES:
        raise MediaError(f"a picture takes up to {MAX_PICTURE_BYTES >> 20} MiB, not {len(data) / 2**20:.1f}; shrink it")
    width, height = _size(data)
    if not width or not height:
        raise MediaError("a frame is no JPEG picture; send baseline JPEG")
    if max(width, height) > MAX_PICTURE_SIDE or width * height > MAX_PIXELS:
        most = f"{MAX_PIXELS >> 20} million pixels and {MAX_PICTURE_SIDE} a side"
        raise MediaError(f"a picture takes up to {most}, not {width}×{height}; shrink it")
    return width, height


def decode(data: bytes) -> NDArray[np.uint8]:
    """uint8 RGB of shape (height, width, 3). Raises `MediaError` for a broken picture."""
    from av import FFmpegError
    from av.codec import CodecContext
    from av.packet import Packet

    decoder: Any = CodecContext.create("mjpeg", "r")
    # A second header within it may claim another size than the first.
    decoder.options = {"max_pixels": str(2 * MAX_PIXELS)}
    try:
        pictures = [*decoder.decode(Packet(data)), *decoder.decode(None)]
    except (FFmpegError, ValueError):
        pictures = []
    if not pictures:
        raise MediaError("a frame is a broken JPEG picture: none of it can be decoded; send it again")
    return np.asarray(pictures[0].to_ndarray(format="rgb24"), np.uint8)


def encode(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """Baseline JPEG of `quality` 1…100."""
    from av.codec import CodecContext
    from av.video.frame import VideoFrame

    encoder: Any = CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
    # mjpeg's scale runs from 2 (best) to 31 (worst).
    encoder.qmin = encoder.qmax = max(2, min(31, round(31 - quality * 29 / 100)))
    picture = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def _size(data: bytes) -> tuple[int, int]:
    """As the first header says; (0, 0) where there is none."""
    at = 2
    if data[:2] != b"\xff\xd8":
        return 0, 0
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _SIZES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker == _SCAN:
            break
        if marker == 0xFF:  # fills up
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0
