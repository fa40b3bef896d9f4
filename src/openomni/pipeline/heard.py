"""Which words of a reply a person heard before it fell silent.

A voice says which clause each piece of its sound speaks, so whole clauses are known to the sample. Within the clause
that was cut, a voice may know when it speaks which word; of others, words are laid over the stretches that are not
silent, each as long as its share of the letters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..events import Word
from ..media import Audio, Samples
from .clauses import Clause

STEP = 0.01
"""Seconds of sound that are looked at together."""
SILENT = 0.01
"""Root mean square, below which nobody speaks (−40 dBFS)."""
ENOUGH = 0.5
"""A word counts as heard when this share of it was."""


@dataclass(slots=True)
class SpokenClause:
    """A clause, and the pieces of sound that speak it; the first begins `start` seconds into the reply."""

    clause: Clause
    start: float
    pieces: list[Audio] = field(default_factory=list)
    words: tuple[Word, ...] = ()
    """When each word is spoken, in seconds from the clause's first sample, from a voice that knows."""

    @property
    def seconds(self) -> float:
        return sum(piece.duration for piece in self.pieces)


def words_heard(clauses: list[SpokenClause], seconds: float) -> str:
    """The text of the first `seconds` of a reply, in whole words as they were written."""
    heard = ""
    for each in clauses:
        if each.start >= seconds:
            break
        if each.start + each.seconds <= seconds:
            heard += each.clause.written
        else:
            heard += each.clause.written[: _end_of_heard(each, seconds - each.start)]
    return heard.strip()


def _end_of_heard(spoken: SpokenClause, seconds: float) -> int:
    """Up to which letter of the written clause its first `seconds` come."""
    said, ends = spoken.clause.spoken, spoken.clause.ends
    begins = [0, *(end for _, end in ends)]
    weights = np.array([_weight(said[begin:end]) for begin, (_, end) in zip(begins, ends, strict=False)])
    if spoken.words:
        count = sum(word.start + ENOUGH * (word.end - word.start) <= seconds for word in spoken.words)
        whole = np.array([_words_in(said[:end]) <= count for _, end in ends])
    elif weights.sum():
        share = _spoken_share(spoken, seconds) * weights.sum()
        whole = np.cumsum(weights) - (1 - ENOUGH) * weights <= share
    else:
        return 0
    # What nobody says belongs to the words before it and after it: it was heard where both were.
    heard = np.flatnonzero(whole & (weights > 0))
    return ends[heard[-1]][0] if len(heard) else 0


def _words_in(text: str) -> int:
    return sum(any(map(str.isalnum, word)) for word in text.split())


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
