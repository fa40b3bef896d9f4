"""One recording, sound or video, cut at time points: each piece between two of them is one sample, with its
pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import ClassVar

from ..place import MEDIA, Place
from ..problems import Problems
from ..samples import Sound, Utterance, seconds
from .interface import Format, Found, single


class TimePoints(Format):
    name: ClassVar[str] = "time-points"
    about: ClassVar[str] = "one recording or video, cut at MM:SS,MM:SS; without time points it is one sample"

    def __init__(self, points: Sequence[float] = ()) -> None:
        """`points`: seconds from the recording's beginning, growing, as `parse_time_points` gives them."""
        self.points = [point for point in points if point > 0]

    def recognises(self, place: Place) -> bool:
        return place.file is not None and PurePosixPath(place.file).suffix.lower() in MEDIA

    def read(self, place: Place, problems: Problems) -> Iterator[Found]:
        if place.file is None:
            problems.error(
                "format", place.root.name, "time points cut one recording, and this is a folder; name the file"
            )
            return
        path = place.media(place.file, place.file, problems)
        if path is None:
            return
        stem = PurePosixPath(path).stem
        cuts: list[float | None] = [0.0, *self.points, None]
        for number, (start, end) in enumerate(pairwise(cuts), 1):
            assert start is not None
            sound = Sound(path, seconds(start), None if end is None else seconds(end))
            yield single(
                f"{stem}-{number}" if self.points else stem, Utterance(sound=sound), f"{path} from {start:g} s"
            )
