"""Cuts a reply into what a voice can speak, while it is still being written.

The first clause is short, because the person waits for it; later ones are whole sentences, because they sound better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

FIRST_WORDS = 3
"""A comma may end the first clause after this many words."""
LONGEST_WORDS = 30
"""A clause without any mark is cut here, so that a rambling model is heard."""

# A mark ends a clause only before a space: 3.14 and example.org stay whole.
_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"')\]]*(?=\s)|\n")
_CLAUSE_END = re.compile(r"[.!?…。！？,;:—–]+[\"')\]]*(?=\s)|\n")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|No)\.$")


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
        if len(self._pending.split()) > LONGEST_WORDS:
            return self._pending.rstrip().rfind(" ") + 1 or None
        return None


def _speakable(clause: str) -> bool:
    return any(letter.isalnum() for letter in clause)
