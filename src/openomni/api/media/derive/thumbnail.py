"""A video at a glance: eight of its pictures side by side, one of the middle of each eighth of its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .... import jpeg
from ....errors import MediaError
from ....media_file import MediaFile, moving, upright
from ....media_file.opening import MAX_PIXELS

MEDIA_TYPE, EXTENSION = "image/jpeg", "jpg"
PICTURES = 8
WIDTH, HEIGHT = 160, 120
"""Of one picture, in pixels, at most; all have the shape of the first that was found."""
QUALITY = 75
MOST_DECODED = 300
"""Pictures that are decoded on the way from a key picture to the one that is wanted."""


def make(source: Path, target: Path, track: int | None) -> None:
    """Writes the strip. A still is alone on it. Raises MediaError where there is no picture."""
    with MediaFile(source, told=_nothing) as file:
        stream = moving(file, track)
        if stream is None:
            raise MediaError(f"{file.name} has no pictures")
        stream.codec_context.thread_count = 1
        # A recorder that wrote on while it recorded may not have stated it: the packets do.
        length = None if file.is_still else file.duration or file.lasts(stream)
        middles = [length * (each + 0.5) / PICTURES for each in range(PICTURES)] if length else [None]
        seen = [_picture_at(file, stream, at) for at in middles]
    first = next((each for each in seen if each is not None), None)
    if first is None:
        raise MediaError(f"{file.name} is damaged: none of its pictures can be decoded")
    strip = np.concatenate([_fitted(first if each is None else each, first) for each in seen], axis=1)
    target.write_bytes(jpeg.encode(strip, QUALITY))


def _picture_at(file: MediaFile, stream: Any, at: float | None) -> NDArray[np.uint8] | None:
    """The picture that is seen there, or one soon before; None where nothing can be decoded."""
    if at is not None:
        file.seek(stream, at)  # where it can't, it is read on to there
    best = None
    for number, (_, picture) in enumerate(file.decoded(stream)):
        if picture.width * picture.height > MAX_PIXELS:
            return None
        best = picture
        due = file.seconds(picture)
        if at is None or due is None or due >= at or number >= MOST_DECODED:
            break
    return None if best is None else upright(best, max(WIDTH, HEIGHT))


def _fitted(picture: NDArray[np.uint8], first: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """In the shape of the first, and within WIDTH × HEIGHT: the nearest pixels."""
    height, width = first.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height, 1.0)
    rows, columns = (max(round(side * scale / 2) * 2, 2) for side in (height, width))
    down = np.arange(rows) * picture.shape[0] // rows
    across = np.arange(columns) * picture.shape[1] // columns
    fitted: NDArray[np.uint8] = picture[down][:, across]
    return fitted


def _nothing(line: str) -> None:
    """What is wrong with a file is told to who replays it."""
