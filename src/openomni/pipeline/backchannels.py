"""Whether somebody wants the word, or only shows that they listen."""

from __future__ import annotations

import re
from collections.abc import Iterable

BACKCHANNELS = (
    "ah", "aha", "alright", "cool", "good", "great", "ha", "haha", "huh", "i see", "nice", "of course", "oh", "ok",
    "okay", "right", "sure", "true", "uh", "uh huh", "uhhuh", "um", "wow", "yeah", "yep", "yes",
)  # fmt: skip
"""English words and sounds that take nobody's turn, in lower case and without marks."""

_WORDS = re.compile(r"[^\W_]+")
_HUM = re.compile(r"\b[mh]+\b")
UNSURE = -0.7
"""Average log probability below which a recogniser guesses. Measured with Whisper on short words in a reply: hums,
which come out as any words at all, lie below it, "stop" and "why?" above."""
_NOISE = re.compile(r"[\[(*♪][^\])*♪]*[\])*♪]")


def is_backchannel(text: str, known: Iterable[str] | None = None) -> bool:
    """Whether a transcript holds nothing but words of `known`, in any number and order; also when it holds none: a
    cough has no words, and recognisers write noises in brackets.
    """
    words = " ".join(_WORDS.findall(_HUM.sub(" ", _NOISE.sub(" ", text.lower()))))
    phrases = sorted(BACKCHANNELS if known is None else known, key=len, reverse=True)
    while words:
        phrase = next((each for each in phrases if words == each or words.startswith(f"{each} ")), None)
        if phrase is None:
            return False
        words = words[len(phrase) :].lstrip()
    return True
