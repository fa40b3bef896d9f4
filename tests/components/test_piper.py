"""Piper voices."""

from __future__ import annotations

import json
import re
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from openomni import models
from openomni.components.conformance import conformance
from openomni.components.stt.faster_whisper import FasterWhisper
from openomni.components.tts.piper import OTHERS, Piper
from openomni.errors import Declined, OpenOmniError
from openomni.media import Audio

pytestmark = pytest.mark.models

TEXT = "The weather is fine today."


@pytest.fixture(scope="module")
def piper() -> Piper:
    component = Piper()
    component.warm_up()
    return component


@pytest.fixture(scope="module")
def whisper() -> FasterWhisper:
    return FasterWhisper()


def test_conforms(piper: Piper) -> None:
    conformance("tts", lambda: piper)


def said(piper: Piper, text: str, voice: str | None = None) -> Audio:
    return Audio.join([sound.audio for sound in piper.synthesize(text, voice)])


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of voices: the same network, `slow-…` at half the pace and `own` at its own; `broken` is no network."""
    network = models.locate("en_US-joe-medium", "piper")
    config = json.loads(Path(f"{network}.json").read_text("utf-8"))
    folder = tmp_path_factory.mktemp("voices")
    for name, length in (("own", 1.0), ("slow-1", 2.0), ("slow-2", 2.0), ("slow-3", 2.0), ("broken", 1.0)):
        settings = {**config, "inference": {**config["inference"], "length_scale": length, "noise_w": 0.0}}
        (folder / f"{name}.onnx.json").write_text(json.dumps(settings), "utf-8")
        if name == "broken":
            (folder / "broken.onnx").write_bytes(b"no voice")
        else:
            (folder / f"{name}.onnx").symlink_to(network)
    (folder / "bare.onnx").symlink_to(network)
    return folder


def test_what_it_says_can_be_understood(piper: Piper, whisper: FasterWhisper) -> None:
    """Each call speaks a little differently, and a small recogniser may mishear one word of them."""
    words, understood = 0, 0
    for text in (
        "The weather is fine today, and the train leaves at noon.",
        "My sister bought a new house in the city last summer.",
        "Please open the window before you leave the room.",
    ):
        asked, heard = (re.findall(r"\w+", each.lower()) for each in (text, whisper.transcribe(said(piper, text)).text))
        words += len(asked)
        understood += sum(block.size for block in SequenceMatcher(None, asked, heard).get_matching_blocks())
    assert understood >= words - 2


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


def test_it_tells_when_it_speaks_each_word(piper: Piper, whisper: FasterWhisper) -> None:
    text = "The weather is fine, and the train leaves at noon."
    first, *others = piper.synthesize(text)
    whole = Audio.join([sound.audio for sound in (first, *others)])
    assert " ".join(word.text for word in first.words) == text
    assert all(before.end <= after.start for before, after in pairwise(first.words))
    assert first.words[0].start >= 0
    assert first.words[-1].end <= whole.duration
    # What is cut out between two words is those words, and no others.
    cut = whole.cut(first.words[5].start, first.words[7].end)
    heard = whisper.transcribe(Audio.join([Audio.silence(0.3, cut.rate), cut])).text
    assert re.findall(r"\w+", heard.lower()) == ["the", "train", "leaves"]


def test_numbers_are_read_in_more_words_than_are_written(piper: Piper) -> None:
    assert next(piper.synthesize("There are 24 of them.")).words == ()


def test_no_text_is_taken_for_phonemes(piper: Piper) -> None:
    written, meant = said(piper, "[[Rome]] is old."), said(piper, "[Rome] is old.")
    assert np.array_equal(written.samples, meant.samples)


@pytest.mark.parametrize("text", ["", "  ", "...", "—"])
def test_what_can_not_be_spoken_gives_no_sound(piper: Piper, text: str) -> None:
    assert list(piper.synthesize(text)) == []


@pytest.mark.long
def test_twice_the_speed_takes_about_half_the_time(piper: Piper) -> None:
    assert said(Piper(speed=2.0), TEXT).duration < 0.7 * said(piper, TEXT).duration


def test_a_speaker_that_the_voice_lacks_is_one_line() -> None:
    with pytest.raises(OpenOmniError, match=r"has 1 speaker\(s\).*there is no 3"):
        Piper(speaker=3)


def test_a_file_that_is_no_voice_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no voice")
    with pytest.raises(OpenOmniError, match=r"is no Piper voice"):
        Piper(str(tmp_path / "no.onnx"))


@pytest.fixture(scope="module")
def own(voices: Path) -> Piper:
    return Piper(str(voices / "own.onnx"))


class TestOtherVoices:
    def test_each_call_says_which_voice_speaks(self, own: Piper) -> None:
        usual = said(own, TEXT).duration
        assert said(own, TEXT, "slow-1").duration > 1.6 * usual
        assert said(own, TEXT).duration < 1.2 * usual

    @pytest.mark.long
    def test_a_few_stay_loaded_and_the_longest_unused_goes_first(self, own: Piper) -> None:
        for name in ("slow-1", "slow-2", "slow-1", "slow-3"):
            own.load_voice(name)
        assert list(own._others) == ["slow-1", "slow-3"]
        assert len(own._others) == OTHERS
        kept = own._others["slow-1"]
        said(own, "Hello!", "slow-1")
        assert own._others["slow-1"] is kept

    def test_its_own_name_is_its_own_voice(self, own: Piper) -> None:
        before = dict(own._others)
        said(own, "Hello!", "own")
        assert dict(own._others) == before

    def test_a_voice_of_the_catalogue_that_is_here_is_found(self, own: Piper) -> None:
        assert own._find("en_US-joe-medium") == models.locate("en_US-joe-medium", "piper")

    @pytest.mark.long
    def test_a_voice_of_the_catalogue_that_is_here_speaks(self, own: Piper) -> None:
        assert said(own, TEXT, "en_US-joe-medium").first_audible() is not None

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("alloy", "the voice 'alloy' is not on this machine; "),
            ("slow-4", "did you mean 'slow-"),
            ("tiny.en", "is not on this machine"),
            ("bare", "is not on this machine"),
            ("broken", "can't be loaded: .* is no ONNX model"),
            ("../own", "is not on this machine"),
            ("x" * 5000, "is not on this machine"),
            ("\0", "is not on this machine"),
            ("hf://rhasspy/piper-voices/en/en_GB/alan/medium/en_GB-alan-medium.onnx", "is not on this machine"),
        ],
    )
    def test_what_is_not_here_is_declined(self, own: Piper, name: str, why: str) -> None:
        with pytest.raises(Declined, match=why):
            next(own.synthesize(TEXT, name))

    def test_no_path_is_taken_from_who_talks_to_a_session(self, own: Piper, voices: Path) -> None:
        with pytest.raises(Declined, match="is not on this machine"):
            own.load_voice(str(voices / "slow-1.onnx"))
