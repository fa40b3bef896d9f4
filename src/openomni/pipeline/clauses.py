"""Cuts a reply into what a voice can speak, while it is still being written.

The first clause is short, because the person waits for it; later ones are whole sentences, because they sound better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

FIRST_WORDS = 2
"""A comma may end the first clause after this many words."""
FIRST_LONG = 4
"""Words after which a first clause without any mark may be cut before a word of `_JOINTS`."""
LONGEST_WORDS = 30
"""A clause without any mark is cut here, so that a rambling model is heard."""

# A mark ends a clause only before a space: 3.14 and example.org stay whole.
_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"')\]]*(?=\s)|\n")
_CLAUSE_END = re.compile(r"[.!?…。！？,;:—–]+[\"')\]]*(?=\s)|\n")
# The first clause doesn't wait for that space, which comes a token later, where a plain word of small letters ends it.
_FIRST_END = re.compile(r"\b[a-z]{2,}[.!?]$")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|No)\.$")


# Where a speaker may take breath: the words that begin a new phrase.
_JOINTS = {
    "after", "although", "and", "as", "at", "because", "before", "but", "by", "during", "for", "from", "if", "in",
    "into", "like", "of", "on", "or", "over", "since", "so", "than", "that", "through", "to", "under", "until", "when",
    "where", "which", "while", "who", "with", "without",
}  # fmt: skip
_FEWEST = 3
"""Words that stand before such a cut at least, so that it does not sound like a stammer."""


class ClauseCutter:
    """Takes text as it comes; gives clauses as soon as they are whole."""

    def __init__(self) -> None:
        self._pending = ""
        self._first = True

    def feed(self, text: str) -> Iterator[str]:
        self._pending += text
        while (end := self._end()) is not None:
            clause, self._pending = self._pending[:end].strip(), self._pending[end:]
            if _speakable(clause):
                self._first = False
                yield clause

    def rest(self) -> str | None:
        """What is left when the reply is over."""
        clause, self._pending = self._pending.strip(), ""
        return clause if _speakable(clause) else None

    def _end(self) -> int | None:
        marks = _CLAUSE_END if self._first else _SENTENCE_END
        for match in marks.finditer(self._pending):
            before = self._pending[: match.end()]
            if _ABBREVIATION.search(before):
                continue
            whole = _SENTENCE_END.fullmatch(self._pending, match.start(), match.end()) or match.group()[0] in ".!?…\n"
            if whole or len(before.split()) >= FIRST_WORDS:
                return match.end()
        if (
            self._first
            and _FIRST_END.search(self._pending)
            and not _ABBREVIATION.search(self._pending)
            and len(self._pending.split()) >= FIRST_WORDS
        ):
            return len(self._pending)
        if self._first and (joint := _last_joint(self._pending)) is not None:
            return joint
        if len(self._pending.split()) > LONGEST_WORDS:
            return self._pending.rstrip().rfind(" ") + 1 or None
        return None


def _last_joint(text: str) -> int | None:
    """Where a long beginning without any mark may be cut: before the last word that joins a phrase to it."""
    words = list(re.finditer(r"\S+", text))
    # The last word may still be growing.
    if len(words) <= FIRST_LONG:
        return None
    joints = [word.start() for word in words[_FEWEST:-1] if word.group().lower() in _JOINTS]
    return joints[-1] if joints else None


def goes_on(clause: str) -> bool:
    """Whether a clause was cut where no mark stands: its voice must not fall as at the end of a sentence."""
    return clause[-1:].isalnum()


def _speakable(clause: str) -> bool:
    return any(letter.isalnum() for letter in clause)
