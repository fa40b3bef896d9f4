"""Whether a text can be what is said in so many seconds: bounds that no speech crosses, not those of a good
reading."""

from __future__ import annotations

import re

FASTEST_WORDS = 8.0
"""Words a second; the fastest speakers of English say six for a while."""
FREE_WORDS = 2.0
"""Words more than that, for clips that are cut closely."""
FASTEST_CHARACTERS, FREE_CHARACTERS = 50.0, 20.0
"""The same in characters, which says something of texts without spaces between words."""
SLOWEST_S = 2.0
"""Seconds a word, pauses within the text included."""
FREE_S = 10.0
"""Seconds of a clip in which nothing need be said."""

_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
# Of scripts written without spaces two characters are taken for a word: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def words(text: str) -> float:
    """How many words a text has, for its length in time: exact where words stand apart."""
    unspaced = len(_UNSPACED.findall(text))
    return len(_WORD.findall(_UNSPACED.sub(" ", text))) + unspaced / 2


def misfit(text: str | None, seconds: float) -> str | None:
    """What is wrong between a text and how long its sound lasts; None where they may belong together, and for a text
    that nobody knows."""
    if text is None:
        return None
    count, letters = words(text), len("".join(text.split()))
    if count > FREE_WORDS + FASTEST_WORDS * seconds:
        return f"lasts {seconds:.2f} s, and its text has {count:g} words, which nobody says in that time"
    if letters > FREE_CHARACTERS + FASTEST_CHARACTERS * seconds:
        return f"lasts {seconds:.2f} s, and its text has {letters:,} characters, which nobody says in that time"
    # An empty text says that nothing is said: noise, or a person who keeps silent.
    if letters and seconds > FREE_S + SLOWEST_S * count:
        return f"lasts {seconds:.0f} s, and its text has {count:g} words, which take a small part of that"
    return None
