"""Where each millisecond of a turn went.

A turn collects `Span`s: what was done, by which stage, from when to when, and which span's end released it. Stages
overlap, so their durations don't add up; `partition` walks the critical path back from the reply's first audible
sample to the last user speech sample and gives each instant exactly one owner. What no span owns is the residue.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

What = Literal["end_of_turn", "queue", "lost", "transfer", "load", "model", "aggregation", "playback", "residue"]


class Span(msgspec.Struct, frozen=True):
    """A duration on one timeline (seconds, one clock). `after` names the span whose work released this one."""

    name: str
    what: What
    start: float
    end: float
    stage: str = ""
    after: str = ""


class Part(msgspec.Struct, frozen=True):
    """A stretch of the turn with its one owner; seconds from the last user speech sample."""

    what: What
    stage: str
    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


def partition(spans: Iterable[Span], last: str, speech_end: float, audible: float) -> list[Part]:
    """The owners of every instant from `speech_end` to `audible`, oldest first.

    `last` names the span that ends in the first audible sample. A span may go on after it released the next one (a
    language model writes on while its first clause is spoken): only what lies before the release is on the path.
    Gaps between a span's start and its cause's end, and whatever lies before the first span, are residue.
    """
    by_name = {span.name: span for span in spans}
    parts: list[Part] = []

    def own(what: What, stage: str, start: float, end: float) -> None:
        if end > start:
            parts.append(Part(what, stage, start - speech_end, end - speech_end))

    cursor = audible
    span = by_name.get(last)
    seen: set[str] = set()
    while span is not None and cursor > speech_end and span.name not in seen:
        seen.add(span.name)
        end = min(span.end, cursor)
        start = min(max(span.start, speech_end), end)
        own("residue", "", max(end, speech_end), cursor)
        own(span.what, span.stage, start, end)
        cursor = min(cursor, start)
        span = by_name.get(span.after)
    own("residue", "", speech_end, cursor)
    parts.reverse()
    return parts


def residue(parts: Iterable[Part]) -> float:
    """Seconds that nobody owns."""
    return sum(part.seconds for part in parts if part.what == "residue")


def path_seconds(parts: Iterable[Part], what: What) -> float:
    """Seconds of the critical path spent on one thing."""
    return sum(part.seconds for part in parts if part.what == what)
