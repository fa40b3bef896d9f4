"""Whether somebody wants the word, or only shows that they listen."""

from __future__ import annotations

import re
from collections.abc import Iterable

BACKCHANNELS = (
    "ah", "aha", "alright", "cool", "good", "great", "ha", "haha", "hm", "hmm", "huh", "i see", "mhm", "mm", "mm hmm",
    "mm hm", "mmhmm", "mmm", "nice", "of course", "oh", "ok", "okay", "right", "sure", "true", "uh", "uh huh", "uhhuh",
    "um", "wow", "yeah", "yep", "yes",
)  # fmt: skip
"""English words and sounds that take nobody's turn, in lower case and without marks."""

_WORDS = re.compile(r"[^\W_]+")
_NOISE = re.compile(r"[\[(*♪][^\])*♪]*[\])*♪]")


def is_backchannel(text: str, known: Iterable[str] | None = None) -> bool:
    """Whether a transcript holds nothing but words of `known`, in any number and order; also when it holds none: a
    cough has no words, and recognisers write noises in brackets.
    """
    words = " ".join(_WORDS.findall(_NOISE.sub(" ", text.lower())))
    phrases = sorted(BACKCHANNELS if known is None else known, key=len, reverse=True)
    while words:
        phrase = next((each for each in phrases if words == each or words.startswith(f"{each} ")), None)
        if phrase is None:
            return False
        words = words[len(phrase) :].lstrip()
    return True
