"""Piper voices."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openomni.components.conformance import conformance
from openomni.components.stt.faster_whisper import FasterWhisper
from openomni.components.tts.piper import Piper
from openomni.errors import OpenOmniError
from openomni.media import Audio

pytestmark = pytest.mark.models

TEXT = "The weather is fine today."


@pytest.fixture(scope="module")
def piper() -> Piper:
    component = Piper()
    component.warm_up()
    return component


def test_conforms(piper: Piper) -> None:
    conformance("tts", lambda: piper)


def test_what_it_says_can_be_understood(piper: Piper) -> None:
    spoken = Audio.join(piper.synthesize("The weather is fine today, and the train leaves at noon."))
    heard = FasterWhisper().transcribe(spoken).text
    assert " ".join(re.findall(r"\w+", heard.lower())) == "the weather is fine today and the train leaves at noon"


def test_starts_with_sound(piper: Piper) -> None:
    for text in (TEXT, "Hello!", "She sells shells."):
        audible = next(piper.synthesize(text)).first_audible()
        assert audible is not None
        assert audible <= 0.010


def test_a_piece_for_each_sentence(piper: Piper) -> None:
    pieces = list(piper.synthesize("One. Two. Three."))
    assert len(pieces) == 3
    assert {piece.rate for piece in pieces} == {22_050}


@pytest.mark.parametrize("text", ["", "  ", "...", "—"])
def test_what_can_not_be_spoken_gives_no_sound(piper: Piper, text: str) -> None:
    assert list(piper.synthesize(text)) == []


def test_twice_the_speed_takes_about_half_the_time(piper: Piper) -> None:
    fast = Audio.join(Piper(speed=2.0).synthesize(TEXT)).duration
    assert fast < 0.7 * Audio.join(piper.synthesize(TEXT)).duration


def test_a_speaker_that_the_voice_lacks_is_one_line() -> None:
    with pytest.raises(OpenOmniError, match=r"has 1 speaker\(s\).*there is no 3"):
        Piper(speaker=3)


def test_a_file_that_is_no_voice_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no voice")
    with pytest.raises(OpenOmniError, match=r"is no Piper voice"):
        Piper(str(tmp_path / "no.onnx"))
