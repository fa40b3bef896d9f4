"""Each utterance is said when its rule has it, and what was heard of the replies is told: on a virtual clock."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

import virtual_time
from openomni import clock
from openomni.client.caller.caller import SyntheticCaller
from openomni.client.caller.dialogue import Line, PlayedLine, WrittenLines, play
from openomni.client.caller.measured import measured
from openomni.client.caller.utterance import SpokenUtterance
from openomni.client.wire import ReplyChunk
from openomni.datasets import AfterPause, AfterReply, AtTime, IntoReply, When
from openomni.events import AXIS_RATE
from openomni.media import Audio
from openomni.records import CalledRecord

RATE = 24_000
BLOCK_S = 0.02
EDGE_S = 0.1


def line(seconds: float, when: When | None = None) -> Line:
    """Speech of so many seconds, with a tenth of silence before and after it."""
    edge = round(EDGE_S * AXIS_RATE)
    speech = 0.5 * np.cos(2 * np.pi * 300 * np.arange(round(seconds * AXIS_RATE)) / AXIS_RATE)
    samples = np.concatenate([np.zeros(edge), speech, np.zeros(edge)])
    return Line(SpokenUtterance("x", "x", Audio(samples, AXIS_RATE), edge, edge + len(speech)), when or AfterReply())


class Assistant:
    """Answers each utterance `wait` seconds after its end, with a reply of `seconds`, but for the first `deaf` of them;
    falls silent as soon as it is spoken into. What it says of its turns is as the gateway tells it."""

    def __init__(self, wait: float = 0.5, seconds: float = 2.0, deaf: int = 0) -> None:
        self.wait, self.seconds, self.deaf = wait, seconds, deaf
        self.turns: list[dict[str, Any]] = []

    async def listen(self, caller: SyntheticCaller) -> None:
        heard = 0
        while True:
            await asyncio.sleep(0.005)
            for said in caller.said[heard:]:
                if clock.now() < said.start:
                    continue
                for reply in caller.being_heard:
                    caller.ear.end(reply.turn_id, "cancelled")
                if clock.now() >= said.end + min(self.wait, 0):
                    heard += 1
                    asyncio.get_running_loop().create_task(self.answer(caller, said, heard))

    async def answer(self, caller: SyntheticCaller, said: Any, number: int) -> None:
        turn_id = f"{number:032x}"
        start, end = said.span
        points = [{"name": "end_of_turn", "at_s": min(self.wait, 0.2)}]
        turn = {"turn_id": turn_id, "segments": [{"start": start, "end": end}], "status": "completed",
                "time_points": points}  # fmt: skip
        self.turns.append(turn)
        caller.turns = self.turns
        await asyncio.sleep(max(self.wait, 0))
        if number <= self.deaf:
            caller._turn_over(turn)
            return
        caller._reads(turn_id, "one two three four")
        count = round(self.seconds * RATE)
        caller.ear.play(ReplyChunk(turn_id, RATE, 0, Audio(np.full(count, 0.3), RATE).pcm16()))
        caller.ear.end(turn_id, "completed")


def scene(lines: list[Line], assistant: Assistant) -> tuple[list[PlayedLine], list[CalledRecord], SyntheticCaller]:
    async def main() -> tuple[list[PlayedLine], list[CalledRecord], SyntheticCaller]:
        caller = SyntheticCaller(0)
        caller._ear(lambda playback: None)

        async def capture() -> None:
            async for _ in caller.room.capture():
                pass

        await asyncio.sleep(1.0)  # the microphone takes a stamp of 0 for none
        running = [asyncio.create_task(capture()), asyncio.create_task(assistant.listen(caller))]
        await asyncio.sleep(1.0)
        played = await play(caller, WrittenLines(lines))
        for task in running:
            task.cancel()
        return played, measured(caller, played), caller

    return virtual_time.run(main())


def begins(played: PlayedLine) -> float:
    """The stamp at which the sound of an utterance begins."""
    return played.said.start - EDGE_S


def test_after_the_reply_it_waits_for_its_last_sample() -> None:
    (first, second), heard, caller = scene([line(1.0), line(0.5, AfterReply(0.4))], Assistant())
    over = caller.replies[f"{1:032x}"].over
    assert over == pytest.approx(first.said.end + 0.5 + 2.0, abs=0.01)
    assert begins(second) == pytest.approx(over + 0.4, abs=BLOCK_S)
    assert second.on_rule
    assert second.sounding is None
    assert [each.voice_to_voice_s for each in heard] == pytest.approx([0.5, 0.5], abs=0.01)
    assert [(each.answered, each.early, each.cut, each.yield_s) for each in heard] == [(True, False, False, None)] * 2


def test_after_a_pause_it_goes_on_whether_or_not_a_reply_has_begun() -> None:
    (first, second), _, _ = scene([line(1.0), line(0.5, AfterPause(0.3))], Assistant(wait=2.0))
    assert begins(second) == pytest.approx(first.said.end + EDGE_S + 0.3, abs=1e-4)
    assert second.sounding is None


@pytest.mark.parametrize(("word", "share"), [(1, 0.0), (3, 8 / 18)])
def test_into_the_reply_it_meets_the_word(word: int, share: float) -> None:
    (_, second), heard, caller = scene([line(1.0), line(0.5, IntoReply(word))], Assistant(seconds=4.0))
    reply = caller.replies[f"{1:032x}"]
    assert second.sounding is reply
    assert reply.audible is not None
    assert second.said.start == pytest.approx(reply.audible + 4.0 * share, abs=0.12 if word == 1 else BLOCK_S)
    assert second.on_rule
    assert reply.cut
    assert heard[1].yield_s == pytest.approx(0.0, abs=0.01)
    assert heard[0].voice_to_voice_s == pytest.approx(0.5, abs=0.01), "of its own reply, which was cut later"


def test_a_word_that_the_reply_does_not_have_is_not_waited_for_longer_than_the_reply() -> None:
    (_, second), _, caller = scene([line(1.0), line(0.5, IntoReply(9))], Assistant())
    over = caller.replies[f"{1:032x}"].over
    assert over is not None
    assert not second.on_rule
    assert begins(second) == pytest.approx(over, abs=0.1)


def test_at_a_time_it_does_not_wait_for_anybody() -> None:
    lines = [line(1.0, AtTime(0.5)), line(0.5, AtTime(2.5))]
    (first, second), heard, _ = scene(lines, Assistant(seconds=3.0))
    assert begins(second) - begins(first) == pytest.approx(2.0, abs=1e-4)
    assert second.sounding is not None, "the reply to the first sounds from 2.1 s on"
    assert heard[1].overlap_s == pytest.approx(heard[1].yield_s, abs=0.01)


def test_a_reply_that_begins_before_the_end_is_early_and_its_time_negative() -> None:
    _, (heard,), _ = scene([line(2.0)], Assistant(wait=-0.7, seconds=1.5))
    assert heard.early
    assert heard.cut
    assert heard.voice_to_voice_s == pytest.approx(-0.7, abs=0.01)
    assert heard.overlap_s == pytest.approx(0.7, abs=0.01)


def test_what_nobody_answers_is_unanswered_and_holds_nothing_up() -> None:
    (first, second), heard, _ = scene([line(1.0), line(1.0, AfterReply(0.1))], Assistant(deaf=1))
    assert [each.answered for each in heard] == [False, True]
    assert heard[0].voice_to_voice_s is None
    assert heard[0].turn_id == f"{1:032x}"
    assert not second.on_rule
    assert second.said.start < first.said.end + 2.0


def test_a_sound_is_laid_to_the_sample_where_it_was_asked_for() -> None:
    (first, second), _, caller = scene([line(0.3), line(0.3, AfterPause(0.1234))], Assistant(wait=9.0, deaf=2))
    sound = Audio.from_pcm16(b"".join(caller.room.sent), AXIS_RATE).samples
    loud = np.flatnonzero(np.abs(sound) > 0.2)
    assert loud[0] == pytest.approx(first.said.span[0], abs=1)
    assert loud[loud < first.said.span[1]][-1] == pytest.approx(first.said.span[1], abs=20)
    assert loud[loud > first.said.span[1]][0] == pytest.approx(second.said.span[0], abs=1)
