from __future__ import annotations

import numpy as np
import pytest

from openomni import records
from openomni.events import (
    AudioIn,
    Message,
    Prompt,
    Sound,
    StageInput,
    StageOutput,
    Text,
    Transcript,
    Usage,
    WireError,
    Word,
    decode_answer,
    decode_input,
    decode_request,
    encode,
)
from openomni.media import Audio, Frame


def test_sound_crosses_the_wire_sample_for_sample() -> None:
    audio = Audio(np.linspace(-1, 1, 999), 22_050)
    sent = encode(StageOutput(3, 1.5, Sound(audio, 0.25)))
    back = decode_answer(sent)
    assert isinstance(back, StageOutput)
    assert isinstance(back.value, Sound)
    np.testing.assert_array_equal(back.value.audio.samples, audio.samples)
    assert (back.value.audio.rate, back.value.start) == (22_050, 0.25)


def test_a_prompt_with_a_picture_crosses_the_wire() -> None:
    frame = Frame(np.full((32, 32, 3), 128, np.uint8), 2.0)
    back = decode_request(encode(StageInput(0, Prompt((Message("user", "see?", (frame,)),)))))
    assert isinstance(back, StageInput)
    assert isinstance(back.value, Prompt)
    (picture,) = back.value.messages[0].images
    assert picture.at == 2.0
    assert np.abs(picture.pixels.astype(int) - 128).max() <= 2


@pytest.mark.parametrize(
    "value",
    [Text("hé"), Transcript("a b", words=(Word("a", 0.0, 0.5),), language="en", diagnostics={"fallback": True})],
)
def test_values_come_back_equal(value: Text | Transcript) -> None:
    assert decode_request(encode(StageInput(0, value))) == StageInput(0, value)


def test_captured_sound_comes_back_equal() -> None:
    event = AudioIn(320, 12.5, b"\x00\x01" * 320)
    assert decode_input(encode(event)) == event


@pytest.mark.parametrize("data", [b"", b"junk", encode(Text("not a session input"))])
def test_what_is_no_event_of_the_kind_is_an_error_with_the_mend(data: bytes) -> None:
    with pytest.raises(WireError, match="upgrade"):
        decode_input(data)


def test_a_record_says_what_it_is_and_comes_back_equal() -> None:
    turn = records.TurnRecord(
        project="p", turn_id="t", session_id="s", index=0, pipeline="local", pipeline_hash="h", transcript="hello"
    )
    assert b'"type":"turn"' in records.encode(turn)
    assert records.decode(records.encode(turn)) == turn


def test_what_two_calls_consumed_adds_up() -> None:
    both = Usage(characters=10, cost=0.5) + Usage(characters=5, seconds=2.0)
    assert both == Usage(characters=15, cost=0.5, seconds=2.0)
    with pytest.raises(ValueError, match="one currency"):
        Usage(cost=1.0) + Usage(cost=1.0, currency="EUR")
