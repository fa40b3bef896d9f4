"""Piper voices."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
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


def said(piper: Piper, text: str) -> Audio:
    return Audio.join([sound.audio for sound in piper.synthesize(text)])


def test_what_it_says_can_be_understood(piper: Piper) -> None:
    spoken = said(piper, "The weather is fine today, and the train leaves at noon.")
    heard = FasterWhisper().transcribe(spoken).text
    assert " ".join(re.findall(r"\w+", heard.lower())) == "the weather is fine today and the train leaves at noon"


def test_starts_with_sound(piper: Piper) -> None:
    for text in (TEXT, "Hello!", "She sells shells."):
        audible = next(piper.synthesize(text)).audio.first_audible()
        assert audible is not None
        assert audible <= 0.010


def test_a_sentence_comes_in_pieces_and_the_first_is_short(piper: Piper) -> None:
    pieces = [sound.audio.duration for sound in piper.synthesize("The weather is fine today, as it was last week.")]
    assert len(pieces) > 2
    assert pieces[0] <= 0.25


def test_a_voice_is_neither_quiet_nor_clipped(piper: Piper) -> None:
    for text in (TEXT, "Stop!", "She sells shells."):
        loudest = float(np.abs(said(piper, text).samples).max())
        assert 0.3 < loudest <= 1.0


def test_it_tells_when_it_speaks_each_word(piper: Piper) -> None:
    text = "The weather is fine, and the train leaves at noon."
    first, *others = piper.synthesize(text)
    whole = Audio.join([sound.audio for sound in (first, *others)])
    assert " ".join(word.text for word in first.words) == text
    assert all(before.end <= after.start for before, after in pairwise(first.words))
    assert first.words[0].start >= 0
    assert first.words[-1].end <= whole.duration
    # What is cut out between two words is those words, and no others.
    cut = whole.cut(first.words[5].start, first.words[7].end)
    heard = FasterWhisper().transcribe(Audio.join([Audio.silence(0.3, cut.rate), cut])).text
    assert re.findall(r"\w+", heard.lower()) == ["the", "train", "leaves"]


def test_numbers_are_read_in_more_words_than_are_written(piper: Piper) -> None:
    assert next(piper.synthesize("There are 24 of them.")).words == ()


@pytest.mark.parametrize("text", ["", "  ", "...", "—"])
def test_what_can_not_be_spoken_gives_no_sound(piper: Piper, text: str) -> None:
    assert list(piper.synthesize(text)) == []


def test_twice_the_speed_takes_about_half_the_time(piper: Piper) -> None:
    assert said(Piper(speed=2.0), TEXT).duration < 0.7 * said(piper, TEXT).duration


def test_a_speaker_that_the_voice_lacks_is_one_line() -> None:
    with pytest.raises(OpenOmniError, match=r"has 1 speaker\(s\).*there is no 3"):
        Piper(speaker=3)


def test_a_file_that_is_no_voice_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no voice")
    with pytest.raises(OpenOmniError, match=r"is no Piper voice"):
        Piper(str(tmp_path / "no.onnx"))
