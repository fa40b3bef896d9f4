"""Words that take nobody's turn, and words that were heard."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from openomni.events import Word
from openomni.media import Audio
from openomni.pipeline.backchannels import is_backchannel
from openomni.pipeline.clauses import Clause, ClauseCutter
from openomni.pipeline.heard import SpokenClause, words_heard
from pipeline.scripted import tone


@pytest.mark.parametrize(
    "text",
    ["", "  ", "Mm-hm.", "MMHM", "Hmm", "Yeah, yeah.", "Oh, okay!", "[coughs]", "(laughs) Right.", "uh-huh", "I see."],
)
def test_these_show_attention(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize(
    "text", ["Stop.", "No.", "Yeah, but why?", "Okay, what else?", "Why?", "What is yes in French?"]
)
def test_these_take_the_word(text: str) -> None:
    assert not is_backchannel(text)


def test_a_pipelines_own_words_stand_for_ours() -> None:
    assert is_backchannel("Genau, ja.", ["ja", "genau"])
    assert not is_backchannel("Yeah.", ["ja", "genau"])


def spoken(*clauses: tuple[str, float]) -> list[SpokenClause]:
    found, start = [], 0.0
    for text, seconds in clauses:
        found.append(SpokenClause(Clause.of(f"{text} "), start, [tone(seconds)]))
        start += seconds
    return found


def test_whole_clauses_were_heard_and_the_cut_one_to_the_word() -> None:
    reply = spoken(("It is noon.", 1.0), ("Have a very good day.", 2.0))
    assert words_heard(reply, 0.0) == ""
    assert words_heard(reply, 1.0) == "It is noon."
    assert words_heard(reply, 2.0) == "It is noon. Have a very"
    assert words_heard(reply, 9.0) == "It is noon. Have a very good day."


def test_a_word_that_was_half_heard_counts_and_less_does_not() -> None:
    reply = spoken(("aaaa bbbb", 1.0))
    assert words_heard(reply, 0.24) == ""
    assert words_heard(reply, 0.3) == "aaaa"
    assert words_heard(reply, 0.7) == "aaaa"
    assert words_heard(reply, 0.8) == "aaaa bbbb"


def test_words_are_laid_over_what_sounds() -> None:
    silence = Audio(np.zeros(16_000), 16_000)
    reply = [SpokenClause(Clause.of("one two"), 0.0, [silence, tone(1.0)])]
    assert words_heard(reply, 1.0) == ""
    assert words_heard(reply, 1.6) == "one"
    assert words_heard([SpokenClause(Clause.of("one two"), 0.0, [silence])], 0.5) == "one"


WRITTEN = "It is **Rome** 😀, [very old](https://x.y/z). 👍 罗马很大。 - *Big*, too."


def clauses_of(text: str) -> list[Clause]:
    cutter = ClauseCutter()
    return [*cutter.feed(text), *cutter.rest()]


def test_what_was_heard_is_told_as_it_was_written() -> None:
    reply = [SpokenClause(clause, float(number), [tone(1.0)]) for number, clause in enumerate(clauses_of(WRITTEN))]
    heard = [words_heard(reply, seconds / 20) for seconds in range(20 * len(reply) + 2)]
    assert heard[0] == ""
    assert heard[-1] == WRITTEN
    assert all(later.startswith(sooner) and WRITTEN.startswith(later) for sooner, later in pairwise(heard))
    assert {"It is **Rome**", "It is **Rome** 😀, [very old](https://x.y/z).", f"{WRITTEN.partition('很')[0]}"} <= set(
        heard
    )


def test_a_voice_that_knows_its_words_tells_them_as_they_were_written() -> None:
    (clause,) = clauses_of("## **Rome** 😀 is [old](https://x.y)")
    times = enumerate(clause.spoken.split())
    reply = [SpokenClause(clause, 0.0, [tone(3.0)], tuple(Word(word, at, at + 1.0) for at, word in times))]
    assert words_heard(reply, 0.4) == ""
    assert words_heard(reply, 0.6) == "## **Rome**"
    assert words_heard(reply, 1.6) == "## **Rome** 😀 is"
    assert words_heard(reply, 2.6) == "## **Rome** 😀 is [old](https://x.y)"
