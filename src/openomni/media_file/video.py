"""A video's pictures, upright, each with its place on the file's axis."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import bounds
from ..lazy import Lazy
from .opening import MAX_PIXELS, MediaFile

if TYPE_CHECKING:
    import numpy as np
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray
else:
    np = Lazy("numpy")

MAX_SIDE = math.isqrt(bounds.MAX_PIXELS)
"""No picture that is made here is larger than one that may be sent."""
SHOWN_SIDE = 768
"""Longest side, in pixels, of a picture that is sent live; a recording keeps the full size."""
FRAME_S = 0.04
"""How long a picture is taken to last where a file says nothing of its times."""


def pictures(file: MediaFile, stream: Any, every: float) -> Iterator[tuple[float, VideoFrame]]:
    """One each `every` seconds, as decoded: `upright` makes pixels of it. What is too big is left out, and told."""
    due = at = 0.0
    for _, picture in file.decoded(stream):
        said = file.seconds(picture)
        at = at + FRAME_S if said is None else max(said, 0.0)
        if picture.width * picture.height > MAX_PIXELS:
            file.tell("big", f"{file.name} has pictures of {picture.width}×{picture.height}; "
                             f"those of more than {MAX_PIXELS / 1e6:.0f} million pixels are left out")  # fmt: skip
        elif at + 1e-6 >= due:
            due = at + every
            yield at, picture


def upright(picture: VideoFrame, side: int = MAX_SIDE) -> NDArray[np.uint8]:
    """RGB of shape (height, width, 3), turned as its maker says, its longest side at most `side` pixels long."""
    scale = min(side / max(picture.width, picture.height), 1.0)
    width, height = picture.width, picture.height
    if scale < 1.0:
        width, height = (max(round(each * scale / 2) * 2, 2) for each in (width, height))
    pixels = picture.reformat(width=width, height=height, format="rgb24").to_ndarray()
    return np.ascontiguousarray(_turned(pixels, _matrix(picture)))


def _matrix(picture: VideoFrame) -> tuple[int, ...]:
    """Where the picture's axes point on the screen; FFmpeg's numbers are fixed point, 16.16."""
    side_data: Any = picture.side_data
    for data in side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
            return a, b, c, d
    return 1, 0, 0, 1


def _turned(pixels: Any, matrix: tuple[int, ...]) -> Any:
    a, b, c, d = matrix
    right, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, right, down = pixels.transpose(1, 0, 2), c, b
    return pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
