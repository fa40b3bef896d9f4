"""What was heard of a reply that was cut, by a real voice and a real recogniser."""

from __future__ import annotations

import pytest

from openomni.bench import kept
from openomni.components import registry
from openomni.media import Audio
from openomni.pipeline.clauses import Clause
from openomni.pipeline.heard import SpokenClause, words_heard

SAID = "The capital of Italy is called Rome, and many tourists visit it."


@pytest.fixture(scope="module")
def clause() -> SpokenClause:
    sounds = list(registry.build("tts", "piper", {"voice": "en_US-joe-medium"}).synthesize(SAID))
    return SpokenClause(
        Clause.of(SAID), 0.0, [sound.audio for sound in sounds], next(s.words for s in sounds if s.words)
    )


@pytest.mark.parametrize("seconds", [0.8, 1.3, 1.9, 2.4])
def test_the_words_before_a_cut_are_told_from_those_after_it(clause: SpokenClause, seconds: float) -> None:
    came = Audio.join(clause.pieces).cut(0.0, seconds + 1.0)
    heard = kept.heard_until(came, seconds)
    written = words_heard([clause], seconds)
    assert 0 < heard.least <= heard.most < len(SAID.split())
    assert kept.words_off(written, heard) == 0
    shorter, longer = written.split()[:-2], SAID.split()[: len(written.split()) + 2]
    assert kept.words_off(" ".join(shorter), heard) != 0
    assert kept.words_off(" ".join(longer), heard) != 0
