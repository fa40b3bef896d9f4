"""What became of what a caller said: from what was heard, and from the turns that the server made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...events import AXIS_RATE
from ...records import CalledRecord
from ..listener.sources import BLOCK
from .caller import SyntheticCaller
from .dialogue import PlayedLine
from .ear import HeardReply

Turn = dict[str, Any]


def measured(caller: SyntheticCaller, played: Sequence[PlayedLine]) -> list[CalledRecord]:
    """Of a call that is over, an entry for each line."""
    return [_one(caller, line, index) for index, line in enumerate(played)]


def _one(caller: SyntheticCaller, line: PlayedLine, index: int) -> CalledRecord:
    said = line.said
    turns = turns_of(caller.turns, said.span)
    replies = [caller.replies[turn["turn_id"]] for turn in turns if turn["turn_id"] in caller.replies]
    # Nothing answers before it is asked: what was sounding when the first word was said is another one's reply.
    heard = [each for each in replies if each.audible is not None and each is not line.sounding]
    answer = heard[-1] if heard else None
    wait = None if answer is None or answer.audible is None else round(answer.audible - said.end, 6)
    beside = [line.sounding, *heard] if line.sounding else heard
    overlap = sum(each.heard_within(said.start, said.end) for each in beside)
    return CalledRecord(
        index=index,
        turn_id=answer.turn_id if answer else (turns[-1]["turn_id"] if turns else ""),
        turn_ids=[turn["turn_id"] for turn in turns],
        voice_to_voice_s=wait,
        answered=answer is not None,
        early=wait is not None and wait < 0,
        cut=any(decided(turn) < said.span[1] / AXIS_RATE for turn in turns),
        overlap_s=round(overlap, 6) if overlap else None,
        yield_s=yield_seconds(line.sounding, said.start),
        heard_s=round(answer.played, 6) if answer is not None and answer.cut else None,
        on_rule=line.on_rule,
        start=said.span[0],
        end=said.span[1],
        text=said.utterance.text,
    )


def turns_of(turns: Iterable[Turn], span: tuple[int, int]) -> list[Turn]:
    """The user turns that were made of a stretch of the session's axis, in their order."""
    found = [turn for turn in turns if turn["segments"] and turn["status"] != "superseded" and _overlap(turn, span)]
    return sorted(found, key=lambda turn: int(turn["segments"][0]["start"]))


def _overlap(turn: Turn, span: tuple[int, int]) -> bool:
    segment = turn["segments"][0]
    return bool(segment["start"] < span[1] and span[0] < segment["end"])


def decided(turn: Turn) -> float:
    """When the end of the turn was decided, in seconds of the session's axis."""
    after = next((point["at_s"] for point in turn["time_points"] if point["name"] == "end_of_turn"), 0.0)
    return float(turn["segments"][0]["end"] / AXIS_RATE + after)


def stop_seconds(interrupted: HeardReply | None, start: float) -> float | None:
    """From the first speech sample at `start` to silence; None when the reply said all before it was stopped."""
    if interrupted is None:
        return None
    silent = interrupted.silenced(start)
    return round(silent - start, 4) if silent is not None else None


def yield_seconds(interrupted: HeardReply | None, start: float) -> float | None:
    """From the first speech sample at `start` until the reply was silent, be it that it had said all: whoever never
    gives way is the slowest, and not left out. None where no reply was sounding."""
    stopped = stop_seconds(interrupted, start)
    if stopped is None and interrupted is not None and interrupted.over is not None:
        stopped = round(interrupted.over - start, 4)
    return stopped


def missing_blocks(sent: Sequence[bytes], kept: bytes) -> int:
    """How many of the microphone's blocks are not in their place in `kept` (PCM16)."""
    size = 2 * BLOCK
    return sum(kept[number * size : (number + 1) * size] != block for number, block in enumerate(sent))
