"""Makes of a written reply what a voice is to say, word by word, while it is being written.

Written text has marks that are for the eye: Markdown, addresses, smileys. Each unit keeps the text as it was written
beside what is said of it, so that whoever shows or remembers the words has them as they stand.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_RUN = 200
"""Letters without a blank between them that are still one word."""

ENDERS = "。！？｡．।॥؟۔።։།။"
"""Marks that end a sentence by themselves, without a blank behind them."""
_IDEOGRAPHS = (
    "\u2e80-\u2fff\u3001-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff9f\U00020000-\U0003ffff"
)
_SYLLABLES = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"
_ALONE = f"{ENDERS}{_IDEOGRAPHS}{_SYLLABLES}"
_UNIT = re.compile(
    rf"(?P<blank>[^\S\n]{{{LONGEST_RUN}}})"
    rf"|[^\S\n]*+(?:(?P<line>\n)"
    rf"|(?P<alone>[{_ALONE}])"
    rf"|(?P<cut>[^\s{_ALONE}]{{{LONGEST_RUN}}})"
    rf"|(?P<word>[^\s{_ALONE}]++)(?=[\s{_ALONE}]))"
)
_IS_SYLLABLE = re.compile(f"[{_SYLLABLES}]")

_PICTURES = "\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u231a-\u23ff\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f"
# A joiner between letters belongs to their script.
_EMOJI = re.compile(rf"[{_PICTURES}]|(?<=[{_PICTURES}])\u200d|\u200d(?=[{_PICTURES}])")
_SMILEY = re.compile(r"(?:[:;][-'^]?[()\[\]DPpOo/\\|3*]+|=[()DP]+|<3)([.,!?…]*)")
_FOR_THE_EYE = re.compile(rf"[*_~`|<>\[\]\\&→†{_PICTURES}]|^[:;=]|://|www\.|mailto:")
"""Only a word with one of these can be said otherwise than it is written."""

_BULLETS = frozenset("-*+•◦▪–·")
_NUMBERED = re.compile(r"\\?(\d{1,3})\\?[.)]")
_FENCE = re.compile(r"(`{3,}|~{3,})[^`~]*$")
_HEADING = re.compile(r"#{1,6}")
_RULE = re.compile(r"(?!(?:==|\+\+|::)$)[-*_=|:+]{2,}|[*_`|~{}^]+")
_TARGET = re.compile(r"\]\((?:[^()]|\([^()]*\))*\)")
_REFERENCE = re.compile(r"(?<=\])\[[^\]]*\]|\[\^?\d{1,3}\]|\[\^[^\]]*\]|\d+(?::\d+)?†\S*")
_TAG = re.compile(r"</?[a-zA-Z][\w-]*(?:\s[^<>]*)?/?>|<!--.*?-->")
_OPEN_TAG = re.compile(
    r"</?(?:a|img|span|div|br|p|font|table|t[dhr]|em|strong|sub|sup|speak|break|prosody|emphasis|say-as|voice"
    r"|phoneme|audio|mark|h[1-6]|li|ul|ol|code|pre|details|summary)$"
)
_AUTOLINK = re.compile(r"<([a-z][a-z0-9+.-]*:[^<>]+|[^<>@]+@[^<>@]+)>", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?:(?:https?|ftp|wss?)://(?:[^/?#@]*@)?|\b(?=www\.))(?:www\.)?([^\s/?#:<>\[\]()*`|]+)[^\s<>\[\]`|]*",
    re.IGNORECASE,
)
_LAST_MARKS = re.compile(r"[.,;:!?'\")*_]+$")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


@dataclass(slots=True)
class Unit:
    """A word, a letter of a script without blanks, or the end of a line: `written` as it stands with the blanks before
    it, `spoken` as it is said (empty: not at all)."""

    written: str
    spoken: str
    apart: bool = False
    """A blank stands before it."""
    alone: bool = False
    """A letter or a mark of a script that puts no blanks between words."""
    closed: bool = True
    """It is whole: no letter follows without a blank."""
    ends_line: bool = False
    heading: bool = False
    """The line that ends here was a heading."""
    marker: bool = False
    """The number of an item in a list."""

    @property
    def length(self) -> float:
        """In words; letters of scripts without blanks count a half, or a quarter where syllables take several."""
        if self.alone:
            return 0.25 if _IS_SYLLABLE.match(self.spoken) else 0.5 if self.spoken else 0.0
        return max(len(self.spoken.split()), len(self.spoken) / 12) if self.spoken else 0.0


class SpokenText:
    """Takes one reply as it comes; gives its units as soon as they are whole. Their `written` joined is the reply."""

    def __init__(self) -> None:
        self.pending = ""
        """What is not whole yet."""
        self._said = ""
        self._skips_word = False
        self._fence = ""
        # Of the line:
        self._line_begins = True
        self._heading = self._item = False
        # As far as they reach, nothing is said:
        self._skips_line = self._in_target = self._in_tag = False

    def feed(self, text: str) -> Iterator[Unit]:
        self.pending += text
        at = 0
        while (found := _UNIT.match(self.pending, at)) is not None:
            at = found.end()
            yield self._unit(found.group(), found.lastgroup or "", self.pending[at : at + 1])
        self.pending = self.pending[at:]

    def rest(self) -> Iterator[Unit]:
        """What is left, taken for whole."""
        if self.pending:
            kind = "word" if self.pending.strip() else "blank"
            written, self.pending = self.pending, ""
            yield self._unit(written, kind, " ")

    def _unit(self, written: str, kind: str, after: str) -> Unit:
        if kind == "line":
            unit = Unit(written, "", ends_line=True, heading=self._heading)
            self._begin_line()
            return unit
        word = written.lstrip()
        apart = len(word) < len(written)
        if apart or kind == "alone":
            self._skips_word = False
        unit = Unit(written, "", apart, kind == "alone", closed=kind == "word" and after.isspace())
        if word and not self._skips_word:
            unit.spoken = self._say(word, unit)
            self._line_begins = self._line_begins and not unit.spoken and not self._skips_line
            self._said = unit.spoken or self._said
        # The end of a long address is one, too.
        self._skips_word = kind == "cut" and not self._in_target and (self._skips_word or "://" in word)
        return unit

    def _begin_line(self) -> None:
        self._line_begins = True
        self._heading = self._item = False
        self._skips_line = self._in_target = self._in_tag = False

    def _say(self, word: str, unit: Unit) -> str:
        if self._skips_line:
            if self._fence * 3 in word and self._fence:
                self._fence, self._skips_line = "", False  # it was code in a line
            return ""
        if self._line_begins and (fence := _FENCE.match(word)) and self._fence in ("", fence[1][0]):
            self._fence = "" if self._fence else fence[1][0]
            self._skips_line = True
            return ""
        if self._fence:
            return _without_brackets(word)
        if self._in_tag:
            _, closed, word = word.partition(">")
            self._in_tag = not closed
        elif self._in_target:
            _, closed, word = word.partition(")")
            self._in_target = not closed
        elif self._line_begins and (said := self._begins_line(word, unit)) is not None:
            return said
        if not _FOR_THE_EYE.search(word):
            return word
        return self._plain(word)

    def _begins_line(self, word: str, unit: Unit) -> str | None:
        """What is said of a mark that begins a line; None where the word is none."""
        if word in _BULLETS:
            self._item = True
            return ""
        if self._item and word.lower() == "[x]":
            return ""
        if _HEADING.fullmatch(word):
            self._heading = True
            return ""
        if word.startswith(">"):
            inner = word.lstrip(">")
            said = self._begins_line(inner, unit) if inner else ""
            return self._plain(inner) if said is None else said
        if _RULE.fullmatch(word) and not unit.alone:
            return ""
        if (number := _NUMBERED.fullmatch(word)) and unit.closed:
            unit.marker = True
            return f"{number[1]},"
        return None

    def _plain(self, word: str) -> str:
        if smiley := _SMILEY.fullmatch(word):
            return smiley[1]
        if word in ("*", "→"):
            return "," if word == "→" else "×" if self._said[-1:].isalnum() else ""
        word = _AUTOLINK.sub(r"\1", html.unescape(word))
        word = _TARGET.sub("]", word)
        if (start := word.find("](")) >= 0:
            word, self._in_target = word[: start + 1], True
        word = _TAG.sub("", word.replace("![", "["))
        word = word if "`" in word else _REFERENCE.sub("", word)
        if opened := _OPEN_TAG.search(word):
            word, self._in_tag = word[: opened.start()], True
        word = _ADDRESS.sub(_domain, word.replace("mailto:", ""))
        word = _EMOJI.sub("", word)
        if _RULE.fullmatch(word):
            return "," if word == "|" and self._said[-1:] not in ".,;:!?…" else ""
        word = re.sub(r"(?<=\d)\\?\*(?=\d)", "×", word)
        word = re.sub(r"\\?[*`]|~~", "", word)
        word = re.sub(r"(?<![^\W_])_+|_+(?![^\W_])", "", word)
        word = word if "@" in word else word.replace("_", " ")
        word = re.sub(r"\|+$", ",", word.lstrip("|")).replace("|", ", ").replace("→", ", ")
        return _without_brackets(_ESCAPED.sub(r"\1", word))


def _without_brackets(word: str) -> str:
    """No bracket reaches a voice: some take what stands in two of them for phonemes."""
    return re.sub(r"(?<=\w)[\[\]]+(?=\w)", " ", word).replace("[", "").replace("]", "").strip()


def _domain(address: re.Match[str]) -> str:
    """What is said of an address: where it leads, and the marks that the sentence put behind it."""
    marks = _LAST_MARKS.search(address.group())
    return address[1].rstrip(".,;:!?'\")*_") + (marks.group() if marks else "")
