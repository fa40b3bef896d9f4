"""What Whisper's tokens say beyond the text: whether a sentence is over, whether it is a noise, and which words it may
have been instead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
else:
    from ...lazy import Lazy

    np = Lazy("numpy")

NO_MARK, WORD, END, GOES_ON, NOISE = range(5)
"""Kinds of tokens."""
ENDING, GOING_ON = ".?!。？！।؟", ",;:-–—…、，；："
NOISES = "[(*♪♫<"
"""What a transcript of a noise begins with: Whisper would write "[coughs]", and only isn't let."""
FIRST_WORDS, LEAST_LIKELY = 8, 0.01
"""How many first words are told, and how likely each must be."""


class Vocabulary:
    """Of a tokenizer of Hugging Face's. `logits`: the decoder's, one row over all tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def last_word(self, tokens: Sequence[int]) -> int:
        """Where it stands; -1 where there is none."""
        kinds = self._kinds
        return max((at for at, token in enumerate(tokens) if token < len(kinds) and kinds[token] == WORD), default=-1)

    def ending(self, logits: Any) -> float:
        """Behind the last word the decoder had to choose: a mark that ends a sentence, one that goes on, or a word."""
        kinds, likely = self._kinds, self._likely(logits)
        ends, others = likely[kinds == END].sum(), likely[(kinds == WORD) | (kinds == GOES_ON)].sum()
        return float(ends / (ends + others))

    def noise(self, logits: Any) -> float | None:
        """Behind the first timestamp; None from a decoder that keeps its rules to itself."""
        kinds = self._kinds
        if not np.isfinite(np.array(logits)[: len(kinds)][kinds == NOISE]).any():
            return None
        return float(self._likely(logits)[kinds == NOISE].sum())

    def first_words(self, logits: Any) -> dict[str, float]:
        """Behind the first timestamp: the likeliest words that are one token, in lower case, with their probabilities;
        the beginnings of longer words are among them."""
        likely = self._likely(logits)
        found: defaultdict[str, float] = defaultdict(float)
        for token in np.argsort(-likely)[: 2 * FIRST_WORDS]:
            if self._kinds[token] == WORD:
                found[self._tokenizer.decode([int(token)]).strip().lower()] += float(likely[token])
        best = sorted(found.items(), key=lambda each: -each[1])[:FIRST_WORDS]
        return {word: share for word, share in best if share >= LEAST_LIKELY}

    def _likely(self, logits: Any) -> Any:
        scores = np.array(logits)[: len(self._kinds)]
        likely = np.exp(scores - scores.max())
        return likely / likely.sum()

    @cached_property
    def _kinds(self) -> Any:
        """What kind of token each is: shape (tokens,), int8."""
        count = self._tokenizer.get_vocab_size(with_added_tokens=False)
        texts = self._tokenizer.decode_batch([[token] for token in range(count)])
        return np.array([kind_of_token(text) for text in texts], np.int8)


def kind_of_token(text: str) -> int:
    """By what a token says where a word has just ended."""
    text = text.strip()
    if any(map(str.isalnum, text)):
        return WORD
    if text.startswith(tuple(GOING_ON)) or ".." in text:
        return GOES_ON
    if text.startswith(tuple(NOISES)):
        return NOISE
    return END if text.startswith(tuple(ENDING)) else NO_MARK
