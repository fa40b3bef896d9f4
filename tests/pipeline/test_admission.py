"""Whatever comes into a session, it goes on, and nothing in it costs more than it holds."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openomni import clock
from openomni.bounds import MAX_POSITION
from openomni.errors import WrongUsage
from openomni.events import (
    AXIS_RATE,
    AudioEnd,
    AudioIn,
    CameBack,
    CancelResponse,
    Commit,
    ItemGone,
    ItemIn,
    Message,
    PictureIn,
    Played,
    Respond,
    SessionChange,
    SessionInput,
    TextIn,
    Truncate,
)
from openomni.media import Audio, Frame, Samples
from openomni.pipeline.tape import BRIDGED, Tape
from openomni.records import SessionRecord
from pipeline.scripted import tone
from pipeline.test_session import Dialogue, LoudMeansSpeech, hold, one_question

MINUTES = 60 * AXIS_RATE
JPEG = Frame(np.zeros((16, 16, 3), np.uint8)).jpeg()


class Counting(LoudMeansSpeech):
    windows = 0

    def __call__(self, samples: Samples) -> float:
        self.windows += 1
        return super().__call__(samples)


def closed(dialogue: Dialogue) -> bool:
    sessions = [record for record in dialogue.records if isinstance(record, SessionRecord)]
    return [record.status for record in sessions] == ["open", "closed"]


@pytest.mark.parametrize("manual", [False, True])
@pytest.mark.parametrize("far", [20 * MINUTES, 1 << 45])
def test_what_was_being_said_is_answered_when_a_position_lies_far_ahead(manual: bool, far: int) -> None:
    async def jump(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        dialogue.position = min(dialogue.position + far, MAX_POSITION - 20 * AXIS_RATE)
        await dialogue.be_silent(0.5)
        await dialogue.speak(1.0)
        await dialogue.be_silent(3.0)
        if manual:
            dialogue.inputs.put_nowait(Commit())
        dialogue.inputs.put_nowait(AudioEnd())

    dialogue, detector = Dialogue(settings={"turn_detection": not manual}), Counting()
    dialogue.detector = detector
    hold(dialogue, jump)
    first, second = dialogue.turns()
    assert (first.status, second.status) == ("completed", "completed")
    assert first.segments[0].end == pytest.approx(AXIS_RATE, abs=512)
    assert second.segments[0].end == pytest.approx(dialogue.position - 3 * AXIS_RATE, abs=512)
    assert detector.windows <= (5.5 * AXIS_RATE + BRIDGED) / 512 + 2
    assert closed(dialogue)


def test_a_gap_while_nobody_speaks_costs_nothing() -> None:
    async def leap(dialogue: Dialogue) -> None:
        for _ in range(20):
            dialogue.position += 4 * AXIS_RATE
            await dialogue.be_silent(0.1)
        await one_question(dialogue)

    dialogue, detector = Dialogue(), Counting()
    dialogue.detector = detector
    hold(dialogue, leap)
    assert len(dialogue.turns()) == 1
    assert detector.windows <= 6.5 * AXIS_RATE / 512


def test_a_position_that_goes_back_moves_no_clock() -> None:
    async def back(dialogue: Dialogue) -> None:
        await dialogue.be_silent(5.0)
        for part in (tone(1.0), Audio.silence(2.0, AXIS_RATE)):
            for start in range(0, len(part.samples), 320):
                await dialogue.say(Audio(part.samples[start : start + 320], AXIS_RATE))
                dialogue.inputs.put_nowait(AudioIn(0, clock.now(), bytes(640)))
        dialogue.inputs.put_nowait(AudioEnd())

    (turn,) = hold(Dialogue(), back).turns()
    assert turn.voice_to_voice_s is not None
    assert 0 < turn.voice_to_voice_s < 2


def test_a_wrong_stamp_loses_no_sound_and_no_number() -> None:
    async def unstamped(dialogue: Dialogue) -> None:
        said = tone(1.0).pcm16() + bytes(2 * 2 * AXIS_RATE)
        for at in range(0, len(said), 640):
            await asyncio.sleep(0.02)
            dialogue.inputs.put_nowait(AudioIn(at // 2, math.nan, said[at : at + 640]))
        dialogue.inputs.put_nowait(AudioEnd())

    (turn,) = hold(Dialogue(), unstamped).turns()
    assert turn.status == "completed"
    assert turn.voice_to_voice_s is not None
    assert 0 < turn.voice_to_voice_s < 2


def test_settings_that_no_session_can_have_refuse_it() -> None:
    with pytest.raises(WrongUsage, match="silence and padding take"):
        Dialogue(settings={"silence": math.nan}).session()


def test_a_tape_never_holds_more_silence_than_it_bridges() -> None:
    tape = Tape()
    tape.write(AudioIn(0, 0.0, bytes(640)))
    assert len(tape.write(AudioIn(20 * MINUTES, 0.0, bytes(640)))) == 320
    assert (tape.base, tape.end) == (20 * MINUTES, 20 * MINUTES + 320)


# ---- whatever comes --------------------------------------------------------------------------------------------------

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 0.2, 1.0, 1e20, -1e20])
positions = st.integers(0, 3 * AXIS_RATE) | st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([20 * MINUTES])
sounds = st.sampled_from([b"", bytes(640), tone(0.5).pcm16(), b"\1", bytes(641)])
words = st.text(max_size=20)
roles = st.sampled_from(["system", "user", "assistant", "tool"])
maybe: Any = lambda strategy: st.none() | strategy  # noqa: E731

events = st.one_of(
    st.builds(AudioIn, positions, numbers, sounds),
    st.builds(PictureIn, positions, st.binary(max_size=30) | st.just(JPEG)),
    st.builds(Commit),
    st.builds(TextIn, words),
    st.builds(ItemIn, words, st.builds(Message, roles, words), st.booleans()),
    st.builds(ItemGone, words),
    st.builds(Respond, request_id=maybe(words), text_only=maybe(st.booleans()), tool_choice=maybe(words)),
    st.builds(CancelResponse),
    st.builds(Truncate, words, numbers),
    st.builds(
        SessionChange, turn_detection=maybe(st.booleans()), create_response=maybe(st.booleans()),
        silence=maybe(numbers), threshold=maybe(numbers), padding=maybe(numbers), language=maybe(words),
    ),
    st.builds(Played, words, numbers, maybe(numbers), numbers, st.booleans(), numbers),
    st.builds(CameBack),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events, max_size=12))
def test_no_input_ends_a_session(given_inputs: list[SessionInput]) -> None:
    async def send(dialogue: Dialogue) -> None:
        for event in given_inputs:
            dialogue.inputs.put_nowait(event)
            await asyncio.sleep(0.05)
        dialogue.inputs.put_nowait(SessionChange(turn_detection=True, create_response=True, silence=0.2, threshold=0.5))
        dialogue.inputs.put_nowait(Respond())
        await asyncio.sleep(5.0)
        dialogue.inputs.put_nowait(AudioEnd())

    dialogue = hold(Dialogue(), send)
    assert closed(dialogue)
    assert dialogue.turns(), "it still answers"
