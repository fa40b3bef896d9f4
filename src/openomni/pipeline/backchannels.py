"""Whether somebody wants the word, or only shows that they listen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .spec import TurnTaking

BACKCHANNELS = (
    "ah", "aha", "alright", "cool", "good", "great", "ha", "haha", "huh", "i see", "nice", "of course", "oh", "ok",
    "okay", "right", "sure", "true", "uh", "uh huh", "uhhuh", "um", "wow", "yeah", "yep", "yes",
    "ja", "genau", "ach so", "gut", "klar", "stimmt",
    "oui", "ouais", "d accord", "bien", "bon",
    "sí", "vale", "claro", "bueno",
    "sì", "va bene", "certo",
)  # fmt: skip
"""Words and sounds that take nobody's turn, in lower case and without marks: English, German, French, Spanish,
Italian."""
COMMANDS = (
    "stop", "wait", "no", "nope", "why", "help", "hold on", "hang on", "quiet", "pause", "enough", "what",
    "stopp", "halt", "warte", "warten sie", "moment", "nein", "warum", "hilfe",
    "arrête", "arrêtez", "attends", "attendez", "non", "pourquoi", "à l aide", "quoi",
    "para", "pare", "espera", "espere", "por qué", "ayuda", "qué",
    "ferma", "fermati", "aspetta", "aspetti", "perché", "aiuto", "basta",
)  # fmt: skip
"""Words that always take the word, in the same languages."""

_WORD = re.compile(r"[^\W_]+")
_HUM = re.compile(r"\b[mh]+\b", re.IGNORECASE)
UNSURE = -0.7
"""Average log probability below which a recogniser may be guessing. Measured with Whisper on short words in a reply:
all hums, which come out as any words at all, lie below it, and so do two thirds of the words."""
NOISE = 0.09
"""Probability of a noise from which on what is unsure is a guess. Measured with Whisper: hums lie above 0.13, words
that it is unsure of mostly below 0.06. `benchmarks/short_words.py` measures both."""
FEW_WORDS = 2
"""As many words may stand for a word of attention that was misheard."""
MAY_BE, MORE_THAN_COMMANDS = 0.05, 4
"""The probability that an unsure text begins with a word of attention, from which on it is taken for one, where that is
so many times as likely as any command. Measured with Whisper: "okay" that came out as "Loki" has 0.08 to 0.19 and more
than seven times that of the commands; commands that came out as other words have less than three times."""
_NOISE = re.compile(r"[\[(*♪][^\])*♪]*[\])*♪]")

Meaning = Literal["word", "answer", "attention", "guess", "nothing"]
"""`word`: it takes the word. `answer`: to what the reply asks. The others take nobody's turn, as in
`records.DismissedRecord`."""


@dataclass(frozen=True, slots=True)
class Understood:
    """What a recogniser made of an utterance. `guess`: what it would have been, had anybody spoken; `noise`: how likely
    it is one; None where it does not say. `first_words`: what it may begin with, and how likely that is."""

    text: str
    guess: str = ""
    log_probability: float | None = None
    noise: float | None = None
    first_words: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, diagnostics: Mapping[str, Any]) -> Understood:
        return cls(
            text.strip(),
            str(diagnostics.get("guess", "")).strip(),
            _number(diagnostics.get("avg_logprob")),
            _number(diagnostics.get("noise_prob")),
            _shares(diagnostics.get("first_words")),
        )

    @property
    def words(self) -> str:
        return self.text or self.guess

    @property
    def unsure(self) -> bool:
        return self.log_probability is not None and self.log_probability < UNSURE

    @property
    def doubtful(self) -> bool:
        """Whether the recogniser says that it hardly understood anything: a hum has no words."""
        return self.unsure and (self.noise is None or self.noise >= NOISE)

    def may_be_attention(self, taking: TurnTaking) -> bool:
        """Whether an unsure word or two may as well be a word of attention, and are unlikely to be a command."""
        if not self.unsure or len(_words(self.text).split()) > FEW_WORDS:
            return False
        attention = self._begins_with(BACKCHANNELS if taking.backchannels is None else taking.backchannels)
        commands = self._begins_with(COMMANDS if taking.commands is None else taking.commands)
        return attention >= max(MAY_BE, MORE_THAN_COMMANDS * commands)

    def _begins_with(self, known: Iterable[str]) -> float:
        first = {_spelt(each).partition(" ")[0] for each in known}
        return sum(share for word, share in self.first_words.items() if word in first)

    def believed(self, taking: TurnTaking, asked: bool) -> str:
        """The text; or the guess, where that is a short word of those that are waited for. `asked`: a reply that was
        heard asks something."""
        answer = asked and _sounds(self.guess) and is_backchannel(self.guess, taking.backchannels)
        return self.guess if not self.text and (self.commands(taking) or answer) else self.text

    def commands(self, taking: TurnTaking) -> bool:
        return is_command(self.words, taking.commands, taking.backchannels)

    def meaning(self, taking: TurnTaking, asked: bool) -> Meaning:
        """What it means during a reply."""
        if self.commands(taking):
            return "word"
        if not _sounds(self.words):
            return "nothing"
        if is_backchannel(self.words, taking.backchannels) or self.may_be_attention(taking):
            return "answer" if asked else "attention"
        if not self.text:
            return "nothing"
        return "guess" if self.doubtful else "word"


def is_command(text: str, known: Iterable[str] | None = None, beside: Iterable[str] | None = None) -> bool:
    """Whether a transcript holds nothing but words of `known`, and maybe of `beside`, which show attention: "Okay,
    stop." None stands for those that the framework knows."""
    commands = COMMANDS if known is None else tuple(known)
    return _holds_only(text, commands, BACKCHANNELS if beside is None else beside)


def is_backchannel(text: str, known: Iterable[str] | None = None) -> bool:
    """Whether a transcript holds nothing but words of `known`, in any number and order; also when it holds none: a
    cough has no words, and recognisers write noises in brackets.
    """
    return not _words(text) or _holds_only(text, BACKCHANNELS if known is None else known)


def _holds_only(text: str, wanted: Iterable[str], others: Iterable[str] = ()) -> bool:
    """At least one of `wanted`, and nothing but them and `others`; hums are left aside."""
    counts = {**{_spelt(each): False for each in others}, **{_spelt(each): True for each in wanted}}
    phrases = sorted(counts, key=len, reverse=True)
    words, found = _words(text), False
    while words:
        phrase = next((each for each in phrases if f"{words} ".startswith(f"{each} ")), None)
        if phrase is None:
            return False
        found = found or counts[phrase]
        words = words[len(phrase) :].lstrip()
    return found


def _words(text: str) -> str:
    """Those of a transcript, without hums and what stands in brackets."""
    return _spelt(_HUM.sub(" ", _NOISE.sub(" ", text)))


def _sounds(text: str) -> str:
    """The same with hums."""
    return _spelt(_NOISE.sub(" ", text))


def _spelt(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _shares(text: Any) -> dict[str, float]:
    """Of "okay:0.130 loki:0.063"; nothing of what no recogniser of ours writes."""
    found = re.findall(r"(\S+):(0\.\d+)", text) if isinstance(text, str) else []
    return {word: float(share) for word, share in found}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
