"""What was heard of a reply that was cut, by a real voice and a real recogniser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openomni.components import registry
from openomni.datasets import Sample, Sound, Utterance
from openomni.media import Audio
from openomni.metrics import heard
from openomni.metrics.heard import HistoryWordsOff
from openomni.metrics.results import Measured, NotApplicable
from openomni.metrics.runs import Run, RunStage, RunTurn
from openomni.pipeline.clauses import Clause
from openomni.pipeline.heard import SpokenClause, words_heard

pytestmark = pytest.mark.models
SAID = "The capital of Italy is called Rome, and many tourists visit it."


@pytest.fixture(scope="module")
def clause() -> SpokenClause:
    sounds = list(registry.build("tts", "piper", {"voice": "en_US-joe-medium"}).synthesize(SAID))
    return SpokenClause(
        Clause.of(SAID), 0.0, [sound.audio for sound in sounds], next(s.words for s in sounds if s.words)
    )


@pytest.fixture(scope="module")
def recogniser() -> Any:
    return heard.recogniser()


@pytest.mark.parametrize("seconds", [1.3, 2.4, *(pytest.param(each, marks=pytest.mark.long) for each in (0.8, 1.9))])
def test_the_words_before_a_cut_are_told_from_those_after_it(
    clause: SpokenClause, recogniser: Any, seconds: float
) -> None:
    came = Audio.join(clause.pieces).cut(0.0, seconds + 1.0)
    found = heard.heard_until(heard.timed_words(recogniser, came), seconds)
    written = words_heard([clause], seconds)
    assert 0 < found.least <= found.most < len(SAID.split())
    assert heard.words_off(written, found) == 0
    shorter, longer = written.split()[:-2], SAID.split()[: len(written.split()) + 2]
    assert heard.words_off(" ".join(shorter), found) != 0
    assert heard.words_off(" ".join(longer), found) != 0


def test_what_is_remembered_of_cut_replies_is_held_against_what_was_played(
    clause: SpokenClause, tmp_path: Path
) -> None:
    sound = Sound(path=str(Audio.join(clause.pieces).save(tmp_path / "reply.wav")))
    exact = words_heard([clause], 1.3)

    def turn(kept: str, played: float | None = 1.3, **fields: Any) -> RunTurn:
        stage = RunStage(kind="tts", component="x", output={"heard": kept})
        return RunTurn(stages=(stage,), reply_text=SAID, reply_sound=sound, heard_s=played, interrupted=True, **fields)

    def measured(*turns: RunTurn) -> Measured | NotApplicable:
        said = Utterance(sound=sound)
        return metric.measure(Run(sample=Sample(id="s", utterances=(said,)), turns=turns, live=True))

    metric = HistoryWordsOff()
    assert measured(turn(exact)) == Measured(0.0, {"replies": 1, "exact": 1, "not_understood": 0})
    whole = measured(turn(exact), turn(SAID))
    assert isinstance(whole, Measured)
    assert whole.value > 1
    assert whole.detail == {"replies": 2, "exact": 1, "not_understood": 0}
    assert isinstance(measured(turn(exact, None)), NotApplicable), "it was heard to its end"
    foreign = measured(turn(exact, language="de"))
    assert isinstance(foreign, NotApplicable)
    assert "knows English alone" in foreign.reason
    assert isinstance(measured(turn(exact, 0.1)), NotApplicable), "nobody could say what was heard in a tenth of one"
