"""A session's sound as a picture: how loud each of its tracks is, in equal stretches.

What was derived of a recording says how loud it is; one that is still under way, or was not derived from yet, is read
through.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as counting

import numpy as np
from numpy.typing import NDArray

from ...events import AXIS_RATE
from ..media.derive.peaks import loudness
from ..media.store import storage
from ..records.models import Derived
from .recording_sound import UNREADABLE, sound_of
from .tracks import ConversationTracks, Placed

BLOCK = 10 * AXIS_RATE
"""Samples that are read at a time."""
Loud = tuple[float, float, NDArray[np.float32]]
"""Where it begins on the session's axis, how many samples each of its values stands for, and the values, 0…1."""


def peaks(tracks: ConversationTracks, count: int) -> tuple[list[float], list[float]]:
    """The greatest amplitude, 0…1, of both tracks in `count` equal stretches. One query."""
    total = tracks.samples
    count = min(count, total)
    if not count:
        return [], []
    edges = np.linspace(0, total, count + 1).astype(np.int64)
    of = [each.recording.pk for each in (*tracks.left, *tracks.right)]
    made = Derived.objects.filter(recording__in=of, kind=Derived.Kind.PEAKS).exclude(key="")
    keys = dict(made.values_list("recording_id", "key"))
    return _drawn(tracks.left, edges, keys), _drawn(tracks.right, edges, keys)


def _drawn(track: list[Placed], edges: NDArray[np.int64], keys: dict[str, str]) -> list[float]:
    greatest = np.zeros(len(edges) - 1, np.float32)
    for placed in track:
        for start, width, values in _derived(placed, keys.get(placed.recording.pk, "")) or _read(placed):
            first = max(int(np.searchsorted(edges, start, "right")) - 1, 0)
            last = int(np.searchsorted(edges[:-1], start + width * len(values), "left"))
            inner = np.clip((edges[first:last] - start) / width, 0, len(values) - 1).astype(np.int64)
            greatest[first:last] = np.maximum(greatest[first:last], np.maximum.reduceat(values, inner))
    return [round(float(value), 3) for value in greatest]


def _derived(placed: Placed, key: str) -> list[Loud]:
    """As its derived peaks say; empty where there are none, or can't be read."""
    if not key:
        return []
    try:
        with storage().open(key) as file:
            a_second, values = loudness(file)
    except (*UNREADABLE, ValueError):
        return []
    width = AXIS_RATE / a_second
    values = values[: -int(-placed.length // width)]
    return [(placed.start, width, values)] if len(values) else []


def _read(placed: Placed) -> Iterator[Loud]:
    try:
        sound = sound_of(placed.recording)
        try:
            for start in counting(0, BLOCK):
                samples = sound.read(start, min(BLOCK, placed.length - start)) if start < placed.length else ()
                if not len(samples):
                    return
                loud: NDArray[np.float32] = np.abs(np.asarray(samples, np.float32))
                loud /= 32768
                yield placed.start + start, 1.0, loud
        finally:
            sound.close()
    except UNREADABLE:
        return
