"""Which words of a reply a person heard before it fell silent.

A voice says which clause each piece of its sound speaks, so whole clauses are known to the sample. Within the clause
that was cut, a voice may know when it speaks which word; of others, words are laid over the stretches that are not
silent, each as long as its share of the letters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from ..events import Word
from ..media import Audio, Samples

STEP = 0.01
"""Seconds of sound that are looked at together."""
SILENT = 0.01
"""Root mean square, below which nobody speaks (−40 dBFS)."""
ENOUGH = 0.5
"""A word counts as heard when this share of it was."""

_WORD = re.compile(r"\S+\s*")


@dataclass(slots=True)
class SpokenClause:
    """A clause, and the pieces of sound that speak it; the first begins `start` seconds into the reply."""

    text: str
    start: float
    pieces: list[Audio] = field(default_factory=list)
    words: tuple[Word, ...] = ()
    """When each word is spoken, in seconds from the clause's first sample, from a voice that knows."""

    @property
    def seconds(self) -> float:
        return sum(piece.duration for piece in self.pieces)


def words_heard(clauses: list[SpokenClause], seconds: float) -> str:
    """The text of the first `seconds` of a reply, in whole words."""
    heard = ""
    for clause in clauses:
        if clause.start >= seconds:
            break
        if clause.start + clause.seconds <= seconds:
            heard += clause.text.rstrip() + " "
        else:
            heard += _part(clause, seconds - clause.start)
    return heard.strip()


def _part(clause: SpokenClause, seconds: float) -> str:
    if clause.words:
        heard = [word.text for word in clause.words if word.start + ENOUGH * (word.end - word.start) <= seconds]
        return " ".join(heard)
    words = [match.group() for match in _WORD.finditer(clause.text)]
    weights = np.array([_weight(word) for word in words], dtype=np.float64)
    if not len(words) or not weights.sum():
        return ""
    spoken = _spoken_share(clause, seconds) * weights.sum()
    ends = np.cumsum(weights)
    count = int(np.sum(ends - (1 - ENOUGH) * weights <= spoken))
    return "".join(words[:count])


def _weight(word: str) -> float:
    """How long a word takes beside others: digits are read out, so each is worth a short word."""
    return sum(4.0 if letter.isdigit() else 1.0 for letter in word if letter.isalnum())


def _spoken_share(clause: SpokenClause, seconds: float) -> float:
    """How much of the clause's speech lies in its first `seconds`, 0…1."""
    rate = clause.pieces[0].rate
    samples: Samples = np.concatenate([piece.resample(rate).samples for piece in clause.pieces])
    step = max(round(STEP * rate), 1)
    whole = samples[: len(samples) // step * step].reshape(-1, step)
    voiced = np.sqrt(np.mean(whole**2, axis=1)) > SILENT
    if not voiced.any():
        return min(seconds / max(clause.seconds, STEP), 1.0)
    return float(voiced[: round(seconds / STEP)].sum() / voiced.sum())
