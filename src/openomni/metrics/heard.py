"""Whether what is kept of a reply that was cut is what the person heard of it, to the word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from statistics import fmean
from typing import Any

from ..events import AXIS_RATE
from ..media import Audio
from ..models import load_catalogue
from ..models import locate as located
from .declaring import metric
from .results import Measured, NotApplicable, not_applicable
from .runs import Run, RunTurn

MODEL = "whisper-tiny.en"
SAME = 0.6
"""How alike what was heard and what was written must be, for the tail of the one to be judged by the other."""
SHORTEST_S = 0.4
"""Of less of a reply nobody could say what was heard."""
LATE_S, SLACK_S = 0.06, 0.07
"""How late the recogniser puts words, and how exactly it knows. Beside the voice's own times, the middle half of its
starts lies between 0.01 s before and 0.09 s after, of its ends between 0 and 0.13 s after."""
TimedWord = tuple[str, float, float]
"""Text, start and end in seconds."""

_WORD = re.compile(r"[a-z0-9']+")


@dataclass(frozen=True, slots=True)
class HeardWords:
    """What a recogniser hears of a reply that was cut: `words` of all that came, of which at least the first `least`
    were played and at most the first `most`. The word that the cut went through may count or not."""

    words: tuple[str, ...]
    least: int
    most: int

    @property
    def text(self) -> str:
        """What was surely played, and in brackets what may have been."""
        sure, unsure = " ".join(self.words[: self.least]), " ".join(self.words[self.least : self.most])
        return f"{sure} [{unsure}]".strip() if unsure else sure


def recogniser() -> Any:
    """The pinned one, which says when each word is spoken."""
    from faster_whisper import WhisperModel

    return WhisperModel(str(located(MODEL, "faster-whisper")), compute_type="int8")


def timed_words(made: Any, audio: Audio) -> list[TimedWord]:
    """What a `recogniser` hears."""
    samples = audio.resample(AXIS_RATE).samples
    segments, _ = made.transcribe(samples, language="en", beam_size=1, word_timestamps=True)
    return [(word.word, float(word.start), float(word.end)) for segment in segments for word in segment.words or ()]


def heard_until(timed: Iterable[TimedWord], played: float) -> HeardWords:
    """Of a reply's words, when its first `played` seconds were heard. They are those of the whole sound: of one that
    ends within a word a recogniser makes up the rest."""
    words = [(word, start, end) for text, start, end in timed for word in _WORD.findall(text.lower())]
    least = sum(end - LATE_S <= played - SLACK_S for _, _, end in words)
    most = sum(start - LATE_S < played + SLACK_S for _, start, _ in words)
    return HeardWords(tuple(word for word, _, _ in words), least, most)


def words_off(written: str, heard: HeardWords) -> int | None:
    """How many words more, or fewer, a text has than were played; None where it is too different from what was heard
    to say. A word that was only heard wrongly makes no difference."""
    told, words = _WORD.findall(written.lower()), list(heard.words)
    if not words:
        return None if told else 0
    blocks = [each for each in SequenceMatcher(None, told, words, autojunk=False).get_matching_blocks() if each.size]
    if sum(each.size for each in blocks) < SAME * min(len(told), heard.least):
        return None
    shared = (blocks[-1].a + blocks[-1].size, blocks[-1].b + blocks[-1].size) if blocks else (0, 0)
    count = shared[1] + len(told) - shared[0]
    return max(heard.least - count, count - heard.most, 0)


@metric("history_words_off", version="1", unit="words", better="lower", kind="accuracy", install="openomni[all]",
        requires=("faster_whisper", "ctranslate2"))  # fmt: skip
class HistoryWordsOff:
    """Words by which what is kept of a reply that was cut, and the next reply builds on, differs from what was heard.

    For English alone. At real-time pace the caller knows how much of each reply it played before that fell silent; a
    pinned recogniser says which words those were, the one that the cut went through counting either way. The mean over
    the replies that were cut; `exact` in the detail says how many were kept to the word, `not_understood` how many the
    recogniser could not say anything of.
    """

    def __init__(self) -> None:
        files = load_catalogue().find(MODEL).files
        self.pins = {"model": MODEL, "sha256": files["model.bin"].sha256}
        self._recogniser: Any = None

    def warm_up(self) -> None:
        self._recogniser = recogniser()

    def measure(self, run: Run) -> Measured | NotApplicable:
        cut = [turn for turn in run.turns if turn.heard_s is not None and turn.heard_s >= SHORTEST_S]
        sounds = [(turn, sound) for turn in cut if (sound := turn.reply()) is not None]
        if not sounds:
            return not_applicable("no reply was cut while it was heard")
        if foreign := next((turn.language for turn, _ in sounds if turn.language[:2] not in ("", "en")), ""):
            return not_applicable(f"its recogniser knows English alone, and this is {foreign}")
        if self._recogniser is None:
            self.warm_up()
        off = [each for turn, sound in sounds if (each := self._off(turn, sound)) is not None]
        counted = {"replies": len(sounds), "exact": off.count(0), "not_understood": len(sounds) - len(off)}
        if not off:
            return not_applicable("the recogniser understood none of the replies that were cut", **counted)
        return Measured(fmean(off), counted)

    def _off(self, turn: RunTurn, sound: Audio) -> int | None:
        heard = heard_until(timed_words(self._recogniser, sound), turn.heard_s or 0.0)
        return words_off(turn.kept_text, heard)
