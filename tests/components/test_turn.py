"""Whether the person has finished: by ear, by the words, and by both."""

from __future__ import annotations

import numpy as np
import pytest

from openomni.components.conformance import check
from openomni.components.turn.smart_turn import SmartTurn, combined, together
from openomni.components.turn.words import finished_by_words
from openomni.events import Endings
from openomni.media import Audio

QUESTION = "src/openomni/cli/data/question.wav"


@pytest.mark.parametrize(
    "text",
    [
        "What is the",
        "I would like to, um",
        "Because",
        "We went to...",
        "My name is",
        "first,",
        "and so,",
        "How many days are?",
    ],
)
def test_what_dangles_is_not_over(text: str) -> None:
    assert finished_by_words(text) < 0.5


@pytest.mark.parametrize(
    "text", ["What is the time?", "Yes.", "I like it.", "Where are you from?", "What should I do?", "No!", "你好。"]
)
def test_what_has_an_end_is_over(text: str) -> None:
    assert finished_by_words(text) > 0.85


def test_no_words_leave_it_open() -> None:
    assert finished_by_words("") < 0.5
    assert 0.5 < finished_by_words("the weather today") < 0.85


def test_whoever_doubts_is_believed() -> None:
    assert combined(0.9, 0.05) == 0.05
    assert combined(0.2, 0.95) == 0.2


@pytest.fixture(scope="module")
def smart() -> SmartTurn:
    return SmartTurn()


@pytest.fixture(scope="module")
def question() -> Audio:
    return Audio.load(QUESTION).resample(16_000)


def test_a_whole_question_is_over_and_its_first_half_is_not(smart: SmartTurn, question: Audio) -> None:
    loud = np.flatnonzero(np.abs(question.samples) > 0.02)
    pause = np.zeros(1600, np.float32)
    whole = Audio(np.concatenate([question.samples, pause]), 16_000)
    middle = (loud[0] + loud[-1]) // 2
    half = Audio(np.concatenate([question.samples[:middle], pause]), 16_000)
    assert smart.finished(whole, "") > 0.85
    assert smart.finished(half, "") < 0.85
    assert smart.finished(whole, "What is the capital of") < 0.5


def test_any_length_and_rate_will_do(smart: SmartTurn, question: Audio) -> None:
    for audio in (Audio(np.zeros(0), 16_000), Audio.silence(30.0, 16_000), question.resample(8000)):
        assert 0 <= smart.finished(audio, "") <= 1


def test_what_the_other_models_know_counts_more_than_what_is_heard(smart: SmartTurn, question: Audio) -> None:
    said = "What is the capital of France?"
    for heard in (question, Audio(question.samples[: len(question.samples) // 2], 16_000)):
        assert smart.finished(heard, said, Endings(recogniser=0.99, reader=0.97)) > 0.9
        assert smart.finished(heard, said, Endings(recogniser=0.3, reader=0.01)) < 0.1
        assert smart.finished(heard, said, Endings(reader=0.99)) > 0.85
        assert smart.finished(heard, said, Endings(recogniser=0.5)) < 0.3
    assert 0.3 < smart.finished(question, said, Endings(reader=0.5)) < 0.95


@pytest.mark.parametrize("known", [Endings(0.9, 0.6), Endings(recogniser=0.96), Endings(reader=0.4)])
def test_where_they_leave_it_open_the_ear_decides(known: Endings) -> None:
    assert together(0.98, known) > 0.77 > together(0.02, known)


@pytest.mark.parametrize("field", ["recogniser", "reader"])
def test_whoever_says_a_sentence_is_over_makes_it_likelier(field: str) -> None:
    rising = [together(0.5, Endings(**{field: likely})) for likely in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert rising == sorted(set(rising))


@pytest.mark.parametrize("name", ["words", "smart-turn"])
def test_they_conform(name: str) -> None:
    assert check("turn", name) == []
