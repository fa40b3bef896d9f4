"""What is said when, in a call of the benchmark."""

from __future__ import annotations

from openomni.bench.corpus import Corpus
from openomni.bench.scenes import plain, script
from openomni.client.caller.utterance import SpokenUtterance
from openomni.events import AXIS_RATE
from openomni.media import Audio


def utterances(what: str, count: int) -> list[SpokenUtterance]:
    sound = Audio.silence(1.0, AXIS_RATE)
    return [SpokenUtterance(f"{what} {number}", "voice", sound, 0, AXIS_RATE) for number in range(count)]


def test_scenes_are_spread_over_the_questions() -> None:
    corpus = Corpus(utterances("question", 6), utterances("paused", 3), utterances("backchannel", 2))
    steps = script(corpus, seed=0)
    assert [step.what for step in steps].count("question") == 6
    assert [step.what for step in steps].count("paused") == 3
    assert [step.what for step in steps[:3]] == ["question", "paused", "question"]
    assert all((step.after == "interrupt") == (step.what == "paused") for step in steps)
    assert sum(step.backchannel is not None for step in steps) == 3
    assert [step.wait for step in script(corpus, seed=0)] == [step.wait for step in steps]
    assert [step.wait for step in script(corpus, seed=1)] != [step.wait for step in steps]


def test_among_others_questions_are_asked_and_listened_to() -> None:
    steps = plain(utterances("question", 2))
    assert [(step.what, step.after, step.backchannel) for step in steps] == [("question", "listen", None)] * 2
