"""A dialogue as a caller plays it: each utterance by its rule, after the reply or a pause, into the reply, at a time.

A rule says when the sound of an utterance begins; of one that is said into a reply, when its first speech sample is
heard, for it is to meet a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ... import clock
from ...datasets import AfterPause, AtTime, IntoReply, When
from ...events import AXIS_RATE
from ..listener.sources import BLOCK_S
from .caller import SyntheticCaller
from .ear import HeardReply
from .room import SaidUtterance
from .utterance import SpokenUtterance

PATIENCE_S = 12.0
"""A reply that has not begun so long after the end of an utterance does not come any more."""
LONGEST_REPLY_S = 120.0
"""A reply that sounds on after that is left to itself."""
LOOKS_S = 0.05
"""How often it is looked where a word lies, while the reply is still being made."""
SAME_END_S = 0.3
"""A turn that ends no further before the end of an utterance is that of all of it."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is said, and when."""

    utterance: SpokenUtterance
    when: When


@dataclass(slots=True)
class PlayedLine:
    """What became of a line."""

    said: SaidUtterance
    sounding: HeardReply | None
    """The reply that was being heard at its first speech sample."""
    on_rule: bool
    """It was said when its rule has it; not so where the reply that it waits for never came, or ended before the
    word."""


class LineSource(Protocol):
    """Who knows what is said next."""

    async def next(self, caller: SyntheticCaller, played: Sequence[PlayedLine]) -> Line | None:
        """None: all was said."""


class WrittenLines:
    """Known beforehand, all of them."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    async def next(self, caller: SyntheticCaller, played: Sequence[PlayedLine]) -> Line | None:
        return self._lines[len(played)] if len(played) < len(self._lines) else None


async def play(caller: SyntheticCaller, source: LineSource, patience_s: float = PATIENCE_S) -> list[PlayedLine]:
    """In an open call. Returns when the last reply was heard, or does not come."""
    began, played = clock.now(), list[PlayedLine]()
    while (line := await source.next(caller, played)) is not None:
        before = played[-1].said if played else None
        at, on_rule = await _when(caller, line, before, began, patience_s)
        said = caller.begin(line.utterance, at)
        await _until(said.start)
        sounding = next((reply for reply in caller.being_heard if reply.sounding(said.start)), None)
        played.append(PlayedLine(said, sounding, on_rule))
        await _until(said.end)
    if played:
        await reply_over(caller, played[-1].said, patience_s)
    return played


async def _when(
    caller: SyntheticCaller, line: Line, before: SaidUtterance | None, began: float, patience_s: float
) -> tuple[float, bool]:
    """The stamp from which the line's sound goes out, and whether that is what its rule wants."""
    when, now = line.when, clock.now()
    if isinstance(when, AtTime):
        # After what is still being said: one person does not talk over themself.
        at = max(began + when.seconds, now if before is None else _sound_end(before))
        return at, at == began + when.seconds or before is None
    if before is None:
        return now, True
    match when:
        case AfterPause():
            return _sound_end(before) + when.seconds, True
        case IntoReply():
            lead = line.utterance.start / AXIS_RATE
            word = await _word(caller, before, when.word, lead, patience_s)
            return (clock.now(), False) if word is None else (word - lead, True)
        case _:
            over = await reply_over(caller, before, patience_s)
            return (clock.now() if over is None else over + when.seconds), over is not None


async def reply_over(caller: SyntheticCaller, said: SaidUtterance, patience_s: float) -> float | None:
    """Waits for the reply to an utterance, and until nothing is heard any more; the stamp at which it ended, None where
    there was none."""
    while True:
        left = said.end + patience_s - clock.now()
        await caller.until(lambda: answer_to(caller, said) is not None or _unanswered(caller, said), left)
        if (answer := answer_to(caller, said)) is None:
            return None
        await caller.until(lambda: not caller.being_heard, LONGEST_REPLY_S)
        # One that began too early, and fell silent again for that, is followed by another.
        if not _stopped(answer, said):
            return max((reply.over for reply in caller.replies.values() if reply.over is not None), default=None)


async def _word(
    caller: SyntheticCaller, said: SaidUtterance, word: int, ahead: float, patience_s: float
) -> float | None:
    """The stamp of a word of the reply to an utterance, `ahead` seconds and a moment before it is heard; None where it
    never is."""
    await caller.until(lambda: answer_to(caller, said) is not None or _unanswered(caller, said), patience_s)
    reply, deadline = answer_to(caller, said), clock.now() + LONGEST_REPLY_S
    while reply is not None and reply.over is None and clock.now() < deadline:
        at = reply.word_at(word)
        if at is not None and at - ahead - clock.now() <= LOOKS_S:
            return max(at, clock.now())
        gap = LOOKS_S if at is None else min(LOOKS_S, at - ahead - clock.now() - BLOCK_S)
        await asyncio.sleep(max(gap, BLOCK_S / 4))
    return None


def answer_to(caller: SyntheticCaller, said: SaidUtterance) -> HeardReply | None:
    """The last reply that began during an utterance, or after it; none that it stopped."""
    found = [each for each in caller.replies.values() if each.audible is not None and each.came > said.start]
    found = [each for each in found if not _stopped(each, said)]
    return max(found, key=lambda each: each.audible or 0.0, default=None)


def _stopped(reply: HeardReply, said: SaidUtterance) -> bool:
    """Whether it began before an utterance ended, and was cut."""
    return reply.cut and reply.audible is not None and reply.audible < said.end


def _unanswered(caller: SyntheticCaller, said: SaidUtterance) -> bool:
    """Whether the turn of all of an utterance is over, and there is no sound of a reply to it."""
    end = said.span[1] - round(SAME_END_S * AXIS_RATE)
    return any(
        turn["segments"] and turn["segments"][0]["end"] >= end and turn["status"] != "superseded"
        and turn["turn_id"] not in caller.replies
        for turn in caller.over
    )  # fmt: skip


def _sound_end(said: SaidUtterance) -> float:
    """The stamp at which the last of its sound goes out."""
    return said.end + (len(said.utterance.audio.samples) - said.utterance.end) / AXIS_RATE


async def _until(stamp: float) -> None:
    await asyncio.sleep(max(stamp - clock.now(), 0.0))
