"""The same questions for the same seed, in several voices, with pauses where they were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from openomni.bench import corpus, prompts
from openomni.bench.questions import QUESTIONS
from openomni.errors import OpenOmniError
from openomni.events import AXIS_RATE
from openomni.media import AUDIBLE, Audio


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Path:
        raise OpenOmniError("the package can't be fetched")

    monkeypatch.setattr(prompts, "debian_prompts", away)


@pytest.mark.models
@pytest.mark.usefixtures("offline")
@pytest.mark.long
def test_without_real_voices_it_goes_on_and_says_so() -> None:
    told: list[str] = []
    made = corpus.build(4, 2, 0, None, told.append)
    assert [each.text for each in made.questions] == list(QUESTIONS[:4])
    assert len({each.voice for each in made.questions}) == 4
    assert not any(each.real for each in made.questions)
    assert made.notes == ["no real voices: the package can't be fetched"]
    again = corpus.build(4, 2, 0, None, told.append)
    assert [each.audio.pcm16() for each in again.paused] == [each.audio.pcm16() for each in made.paused]


@pytest.mark.long  # each utterance is spoken, heard and cut
@pytest.mark.models
@pytest.mark.usefixtures("offline")
def test_pauses_are_as_long_as_they_say_and_inside_the_speech() -> None:
    made = corpus.build(1, 3, 1, None, lambda line: None)
    assert len(made.paused) == 3
    for each in made.paused:
        assert each.pauses
        for start, end in each.pauses:
            assert 0.3 <= (end - start) / AXIS_RATE <= 0.7
            assert each.start < start < end < each.end
            assert abs(each.audio.samples[start:end]).max() <= AUDIBLE


@pytest.mark.models
@pytest.mark.usefixtures("offline")
def test_recordings_of_ones_own_are_each_third_voice(tmp_path: Path, question: Audio) -> None:
    question.save(tmp_path / "mine.wav")
    (tmp_path / "notes.txt").write_text("no sound")
    made = corpus.build(3, 0, 0, tmp_path, lambda line: None)
    assert [each.real for each in made.questions] == [False, False, True]
    assert made.questions[2].name == "mine"
    assert made.notes == []


@pytest.mark.usefixtures("offline")
def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OpenOmniError, match="holds no recording of one utterance of 1 to 12 s"):
        corpus.build(3, 0, 0, tmp_path, lambda line: None)
