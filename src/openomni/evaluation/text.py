"""Error rates of what was recognised, over all that was said: the corpus's rate, not the mean of its rows' rates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .checks import library, listed, same_length

Normaliser = Callable[[str], str]


class Errors(NamedTuple):
    """What lies between texts and what was recognised of them; `total` are the words (or characters) of the
    references."""

    substitutions: int
    deletions: int
    insertions: int
    total: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """None where no reference has a word."""
        return self.errors / self.total if self.total else None


def wer(
    references: str | Iterable[str], hypotheses: str | Iterable[str], normaliser: str | Normaliser | None = None
) -> float | None:
    """The word error rate: substitutions, deletions and insertions of all rows ÷ words of all references.

    A row whose reference is empty counts: each word that was heard there is an insertion.

    Args:
        references: What was said; one text, or one per utterance.
        hypotheses: What was recognised, in the same order; "" where nothing was.
        normaliser: What makes both comparable: "english" or "basic" (whisper-normalizer), or a function of a text.
            Without one, case and punctuation count.

    Returns:
        A share of the reference's words, above 1 where much was inserted; None where no reference has a word.

    Raises:
        ValueError: there are more of the one than of the other, something is no text, or nobody knows the normaliser.

    Source: jiwer; Radford et al. 2022 for the normalisers.
    """
    return word_errors(references, hypotheses, normaliser).rate


def cer(
    references: str | Iterable[str], hypotheses: str | Iterable[str], normaliser: str | Normaliser | None = None
) -> float | None:
    """The character error rate, as `wer`; the space between two words is a character."""
    return character_errors(references, hypotheses, normaliser).rate


def word_errors(
    references: str | Iterable[str], hypotheses: str | Iterable[str], normaliser: str | Normaliser | None = None
) -> Errors:
    """The errors that `wer` divides, by their kind, over all rows; arguments and errors as there."""
    return _counted(references, hypotheses, normaliser, "process_words")


def character_errors(
    references: str | Iterable[str], hypotheses: str | Iterable[str], normaliser: str | Normaliser | None = None
) -> Errors:
    """As `word_errors`, of characters."""
    return _counted(references, hypotheses, normaliser, "process_characters")


def _counted(
    references: str | Iterable[str], hypotheses: str | Iterable[str], normaliser: str | Normaliser | None, process: str
) -> Errors:
    normalise = _normaliser(normaliser)
    said, heard = _texts(references, "references", normalise), _texts(hypotheses, "hypotheses", normalise)
    same_length(said, heard, "references and hypotheses")
    count = getattr(library("jiwer"), process)
    spoken = [(each, what) for each, what in zip(said, heard, strict=True) if each]
    found = Errors(0, 0, 0, 0)
    if spoken:
        made = count([each for each, _ in spoken], [what for _, what in spoken])
        total = made.hits + made.substitutions + made.deletions
        found = Errors(made.substitutions, made.deletions, made.insertions, total)
    # What was heard where nothing was said is inserted, all of it. A jiwer before 4 refuses an empty reference: turned
    # round it is as many deletions.
    inserted = sum(count([what], [""]).deletions for each, what in zip(said, heard, strict=True) if not each and what)
    return found._replace(insertions=found.insertions + inserted)


def _texts(texts: str | Iterable[str], what: str, normalise: Normaliser) -> list[str]:
    made = []
    for at, each in enumerate([texts] if isinstance(texts, str) else listed(texts, what)):
        if not isinstance(each, str):
            mend = 'give "" where nothing was' if each is None else "give texts"
            raise ValueError(f"{what}[{at}] is {type(each).__name__}, no text; {mend}")
        normal = normalise(each)
        if not isinstance(normal, str):
            raise ValueError(f"the normaliser gave {type(normal).__name__}; it has to give a text")
        made.append(" ".join(normal.split()))
    return made


def _normaliser(named: Any) -> Normaliser:
    match named:
        case None:
            return str
        case "english":
            return library("whisper_normalizer.english").EnglishTextNormalizer()  # type: ignore[no-any-return]
        case "basic":
            return library("whisper_normalizer.basic").BasicTextNormalizer()  # type: ignore[no-any-return]
        case str():
            raise ValueError(f"there is no normaliser {named!r}; there are: basic, english, or give a function")
        case _ if callable(named):
            return named  # type: ignore[no-any-return]
    raise ValueError(f"the normaliser is {type(named).__name__}; give basic, english or a function")
