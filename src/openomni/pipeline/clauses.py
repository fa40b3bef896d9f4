"""Cuts a reply into what a voice can speak, while it is still being written.

The first clause is short, because the person waits for it; later ones are whole sentences, because they sound better.
However a reply comes in pieces, its clauses are the same, but for the first one, which waits for no blank. Where a
piece ends at a mark after a word of small letters, that mark ends it, and where one ends within a word, no mark is
expected to end that word. Of pieces that are whole words the first clause is the same, too. The clauses' written text
joined is the reply, whatever becomes of it in the voice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .sentences import CLOSERS, Ending, ending, goes_on
from .spoken import ENDERS, LONGEST_RUN, SpokenText, Unit

FIRST_WORDS = 2
"""A comma may end the first clause after this many words."""
FIRST_LONG = 3
"""Words after which a first clause without any mark may be cut before a word of `_JOINTS`."""
FIRST_LONGEST = 10
"""Words after which the first clause is cut in a script that has no blanks to tell where."""
LONGEST_WORDS = 30
"""A clause without any mark is cut here, so that a rambling model is heard. Lengths in words, here and above, count two
ideographs or kana for one, and four letters of a script like Thai's."""

MARKS = ".!?…,;:—–"
_CLAUSE_END = re.compile(rf"[,;:—–…、，；：،؛]+[{re.escape(CLOSERS)}]*$")
_CLINGS = re.compile(
    rf"[{re.escape(CLOSERS + ENDERS)}、，；：…ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ々・"
    "\u0e2f-\u0e3a\u0e45-\u0e4e\u0eb0-\u0ebc\u0ec6-\u0ece\u102b-\u103e\u17b4-\u17d3\u0f71-\u0f84\u0f90-\u0fbc]"
)
"""What never begins a clause, in scripts without blanks."""
_LEADS = re.compile("[เแโใไ\u0ec0-\u0ec4「『（【《〈]$")
"""What never ends one."""
_HIRAGANA = re.compile("[ぁ-ゖ]$")
_PHRASE_BEGINS = re.compile("[ァ-ヺ\u3400-\u4dbf\u4e00-\u9fff]")
_EARLY = re.compile(r"(?:^|\s)([^\W\d_]{2,}[.!?])$")
_LIST_NUMBER = re.compile(r"[(#]?\d{1,3}[.)]|[A-Za-z][.)]")
_IDEOGRAPHIC = re.compile("[\u3040-\u30ff\u3400-\u9fff]$")
_SYLLABIC = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]$")
_ARABIC = re.compile("[\u0600-\u06ff]$")

# Where a speaker may take breath: the words that begin a new phrase.
_JOINTS = {
    "after", "although", "and", "as", "at", "because", "before", "but", "by", "during", "for", "from", "if", "in",
    "into", "like", "of", "on", "or", "over", "since", "so", "than", "that", "through", "to", "under", "until", "when",
    "where", "which", "while", "who", "with", "without",
}  # fmt: skip


@dataclass(slots=True)
class Clause:
    """Some of a reply: as it was written, blanks included, and as a voice is given it."""

    written: str
    spoken: str
    ends: tuple[tuple[int, int], ...]
    """Where each word ends: in `written`, and in `spoken`."""

    @classmethod
    def of(cls, text: str) -> Clause:
        """Text that is spoken as it is written."""
        spoken = text.strip()
        ahead = len(text) - len(text.lstrip())
        return cls(text, spoken, tuple((ahead + word.end(), word.end()) for word in re.finditer(r"\S+", spoken)))


class ClauseCutter:
    """Takes text as it comes; gives clauses as soon as they are whole."""

    def __init__(self) -> None:
        self._text = SpokenText()
        self._units: list[Unit] = []
        self._first = True
        self._last: Clause | None = None
        self._begin([])

    def feed(self, text: str) -> Iterator[Clause]:
        for unit in self._text.feed(text):
            yield from self._add(unit)
        pending = self._text.pending
        if self._asks == "mark":
            if pending[:1] not in CLOSERS if pending else self._first:
                yield from self._cut(len(self._units))
        elif self._first and not self._asks and self._length + 1 >= FIRST_WORDS:
            early = _EARLY.search(pending)
            if early and early[1].islower() and ending(early[1], self._last_words()[0]) is Ending.SENTENCE:
                for unit in self._text.rest():
                    yield from self._add(unit)
            elif self._joint and pending[-1:].isalnum():
                yield from self._cut(self._joint)

    def rest(self) -> Iterator[Clause]:
        """What is left when the reply is over. What of it is not for a voice belongs to the clause before."""
        for unit in self._text.rest():
            yield from self._add(unit)
        if _speakable(self._units):
            yield _joined(self._units, "")
        elif self._last is not None:
            self._last.written += "".join(unit.written for unit in self._units)

    def _begin(self, units: list[Unit]) -> None:
        """A new clause, of what is left of the one before."""
        self._units, self._length, self._words = [], 0.0, 0
        self._asks = ""
        """What the next unit has to tell: whether a `word` or a `mark` ended the sentence."""
        self._joint = 0
        """After how many units a first clause is cut, unless it ends with the next one."""
        self._soft = 0
        """After how many units it may be cut best, if it has to be."""
        for unit in units:
            self._put(unit)

    def _put(self, unit: Unit) -> None:
        self._units.append(unit)
        self._length += unit.length
        self._words += _has_letters(unit.spoken)
        if self._length >= LONGEST_WORDS / 2 and not unit.spoken[-1:].isalnum() and _CLAUSE_END.search(unit.spoken):
            self._soft = len(self._units)

    def _add(self, unit: Unit) -> Iterator[Clause]:
        if self._asks == "mark":
            if not unit.apart and all(letter in CLOSERS + ENDERS for letter in unit.written) and not unit.ends_line:
                self._put(unit)
                return
            yield from self._cut(len(self._units))
        elif self._asks and (unit.spoken or unit.ends_line):
            self._asks = ""
            if unit.ends_line or not goes_on(*self._last_words(), unit.spoken):
                yield from self._cut(len(self._units))
        if self._joint and unit.spoken:
            joint, self._joint = self._joint, 0
            if unit.spoken.rstrip(CLOSERS)[-1:] not in MARKS:
                yield from self._cut(joint)
        if (at := self._too_long(unit)) is not None:
            yield from self._cut(at)
        joins = self._first and unit.closed and self._words >= FIRST_LONG and unit.spoken.lower() in _JOINTS
        if joins and self._last_words()[0][-1:] not in MARKS:
            self._joint = len(self._units)
        self._put(unit)
        if unit.ends_line:
            yield from self._cut(len(self._units), heading=unit.heading)
            return
        if self._ends(unit):
            yield from self._cut(len(self._units))

    def _last_words(self) -> tuple[str, str]:
        """The last word that is spoken and the one before it."""
        said = (unit.spoken for unit in reversed(self._units) if unit.spoken)
        return next(said, ""), next(said, "")

    def _ends(self, unit: Unit) -> bool:
        """Whether a clause ends with this unit; or what follows will tell."""
        if not unit.spoken or unit.marker or unit.spoken[-1].isalnum():
            return False
        if unit.spoken in ENDERS:
            self._asks = "mark" if self._words else ""
            return False
        if unit.alone or not unit.closed:
            between = not unit.alone and len(self._units) > 1 and self._units[-2].alone
            if between and unit.spoken[0] in ".!?" and not _has_letters(unit.spoken):
                self._asks = "mark"
                return False
        elif self._words == 1 and _LIST_NUMBER.fullmatch(unit.spoken):
            return False
        else:
            match ending(unit.spoken, self._last_words()[1]):
                case Ending.SENTENCE:
                    return True
                case Ending.NEXT:
                    self._asks = "word"
                    return False
        return self._first and self._length >= FIRST_WORDS and bool(_CLAUSE_END.search(unit.spoken))

    def _too_long(self, unit: Unit) -> int | None:
        """After how many units the clause is cut before this one, though no mark stands there."""
        if not self._units or not unit.spoken:
            return None
        last = self._units[-1]
        here = len(self._units)
        syllables = last.alone and last.length == 0.25
        if syllables and unit.apart and self._length >= (FIRST_LONG if self._first else FIRST_LONGEST):
            return here
        if unit.alone or last.alone:
            breaks = not (_CLINGS.match(unit.spoken) or _LEADS.search(last.spoken) or _only_marks(unit.spoken))
        else:
            breaks = unit.apart or len(last.written) >= LONGEST_RUN
        if not breaks:
            return None
        if self._first and unit.alone:
            phrase = _HIRAGANA.search(last.spoken) and _PHRASE_BEGINS.match(unit.spoken)
            if self._length >= (FIRST_LONGEST / 2 if phrase else FIRST_LONGEST):
                return here
        return (self._soft or here) if self._length >= LONGEST_WORDS else None

    def _cut(self, at: int, heading: bool = False) -> Iterator[Clause]:
        """The clause of the first `at` units, where there is something to say in it."""
        units, left = self._units[:at], self._units[at:]
        if not _speakable(units):
            number = next((unit.spoken for unit in reversed(units) if unit.marker), "")
            unsaid = Unit("".join(unit.written for unit in units), number, apart=True, marker=True)
            self._begin([unsaid, *left])
            return
        self._first = False
        self._last = _joined(units, _mark(units, heading))
        self._begin(left)
        yield self._last


def _joined(units: list[Unit], mark: str) -> Clause:
    written = spoken = ""
    gap = False
    ends = []
    for unit in units:
        written += unit.written
        gap = gap or unit.apart or unit.ends_line
        if unit.spoken and (spoken or not _only_marks(unit.spoken)):
            glued = not spoken or not gap or (_only_marks(unit.spoken) and unit.spoken[0] not in "—–")
            spoken += unit.spoken if glued else f" {unit.spoken}"
            gap = False
        ends.append((len(written), len(spoken)))
    return Clause(written, spoken + mark, tuple(ends))


def _only_marks(spoken: str) -> bool:
    return spoken[0] in MARKS and not _has_letters(spoken)


def _mark(units: list[Unit], heading: bool) -> str:
    """What is put behind a clause that was cut where no mark stands: its voice must not fall as at the end of a
    sentence, unless it was a heading."""
    last = next((unit.spoken for unit in reversed(units) if unit.spoken), "")
    ideographic = bool(_IDEOGRAPHIC.search(last))
    if not last[-1:].isalnum() or _SYLLABIC.search(last):
        return ""
    if heading:
        return "。" if ideographic else "."
    return "，" if ideographic else "،" if _ARABIC.search(last) else ","


def _speakable(units: list[Unit]) -> bool:
    return any(not unit.marker and _has_letters(unit.spoken) for unit in units)


def _has_letters(spoken: str) -> bool:
    return spoken[:1].isalnum() or any(map(str.isalnum, spoken))
