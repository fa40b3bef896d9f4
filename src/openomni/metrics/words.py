"""What was understood: the transcript against what was said, word by word and character by character."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from ..lazy import Lazy
from .declaring import metric
from .results import Measured, NotApplicable, not_applicable
from .runs import Run

if TYPE_CHECKING:
    from ..evaluation import text
    from ..evaluation.text import Errors
else:
    text = Lazy("openomni.evaluation.text")

Normaliser = Literal["auto", "english", "basic", "none"]


def pins(normaliser: Normaliser) -> dict[str, str]:
    """What the counting stands on: the same texts may have other errors with another of these."""
    packages = ("jiwer", *(("whisper-normalizer",) if normaliser != "none" else ()))
    return {"normaliser": normaliser, **{package: metadata.version(package) for package in packages}}


def normalised(said: str, language: str, normaliser: Normaliser) -> str:
    """`auto`: English, and what says no language, as whisper-normalizer has English; every other language by its basic
    one, which knows no language."""
    if normaliser == "none":
        return said
    if normaliser == "auto":
        return _normaliser("english" if language.lower()[:2] in ("", "en") else "basic")(said)
    return _normaliser(normaliser)(said)


@cache
def _normaliser(name: str) -> Callable[[str], str]:
    """Made once: that for English reads a table of spellings."""
    from importlib import import_module

    module = import_module(f"whisper_normalizer.{name}")
    return getattr(module, f"{name.capitalize()}TextNormalizer")()  # type: ignore[no-any-return]


class _ErrorRate:
    """What the two rates share."""

    counter = "word_errors"
    """The function of `evaluation.text` that counts them."""
    noun = "words"

    def __init__(self, normaliser: Normaliser = "auto") -> None:
        self._normaliser: Normaliser = normaliser
        self.pins = pins(normaliser)

    def measure(self, run: Run) -> Measured | NotApplicable:
        if not any(each.text is not None for each in run.sample.utterances):
            return not_applicable("no utterance of the sample has a reference text")
        if any("stt" in turn.given for turn in run.turns):
            return not_applicable("the transcript was given to the pipeline, not recognised")
        if not _recognises(run):
            return not_applicable("the pipeline writes no transcript")
        said, heard = [], []
        for index, utterance in enumerate(run.sample.utterances):
            if utterance.text is not None:
                recognised = " ".join(turn.transcript for turn in run.of_utterance(index))
                said.append(normalised(utterance.text, utterance.language, self._normaliser))
                heard.append(normalised(recognised, utterance.language, self._normaliser))
        return rate_of(getattr(text, self.counter)(said, heard), self.noun)


def _recognises(run: Run) -> bool:
    """Whether a transcript could have been written. Where nobody knows what the pipeline is made of, it could."""
    return not run.kinds or "stt" in run.kinds or bool(run.transcript)


def rate_of(found: Errors, noun: str) -> Measured | NotApplicable:
    """The rate with what it is made of; without a reference word there is none, and the insertions are told."""
    detail = {name: getattr(found, name) for name in ("substitutions", "deletions", "insertions")}
    if not found.total:
        return not_applicable(
            f"the reference has no {noun}, so it has no rate of its own; {found.errors} were heard, and count in the "
            "rate of all samples",
            **detail, errors=found.errors, total=0,
        )  # fmt: skip
    return Measured(found.errors / found.total, detail, found.errors, found.total)


_REQUIRES = ("jiwer", "whisper_normalizer")


@metric("wer", version="1", better="lower", kind="accuracy", statistic="rate", install="openomni[evaluation]",
        requires=_REQUIRES)  # fmt: skip
class WordErrorRate(_ErrorRate):
    """Word error rate of the transcript: substitutions, deletions and insertions ÷ words of the reference.

    The errors of all utterances of a dialogue are summed up before they are divided. An utterance that no turn was made
    of was not understood: all its words are deleted. A sample whose reference is empty (nobody speaks) has no rate of
    its own: it is not applicable, with `errors` (what was heard there) and `total` 0 in its detail, which count in the
    rate of all samples.

    Args:
        normaliser: What makes both texts comparable. `auto`: whisper-normalizer's English one for English and for what
            says no language, its basic one for others; `none`: case and punctuation count.
    """


@metric("cer", version="1", better="lower", kind="accuracy", statistic="rate", install="openomni[evaluation]",
        requires=_REQUIRES)  # fmt: skip
class CharacterErrorRate(_ErrorRate):
    """Character error rate of the transcript; a space between two words is a character. All else as `wer` has it.

    Args:
        normaliser: As of `wer`.
    """

    counter = "character_errors"
    noun = "characters"


@metric("answer_rate", version="1", better="higher", kind="accuracy", statistic="rate",
        install="openomni[evaluation]", requires=("whisper_normalizer",))  # fmt: skip
class AnswerRate:
    """Share of the utterances with a known answer whose reply says it: its words, in their order, are in the reply.

    Both are normalised first. An utterance without any reply is not answered rightly. It sees words, not sense: it is
    for questions that have one short answer.

    Args:
        normaliser: As of `wer`.
    """

    def __init__(self, normaliser: Normaliser = "auto") -> None:
        self._normaliser: Normaliser = normaliser
        self.pins = {name: value for name, value in pins(normaliser).items() if name != "jiwer"}

    def measure(self, run: Run) -> Measured | NotApplicable:
        right = []
        for index, utterance in enumerate(run.sample.utterances):
            if utterance.answer is not None:
                reply = " ".join(turn.reply_text for turn in run.of_utterance(index))
                wanted, said = (normalised(each, utterance.language, self._normaliser).split()
                                for each in (utterance.answer, reply))  # fmt: skip
                if wanted:
                    right.append(_holds(said, wanted))
        if not right:
            return not_applicable("no utterance of the sample has a known answer")
        return share(sum(right), len(right))


def _holds(said: list[str], wanted: list[str]) -> bool:
    return any(said[at : at + len(wanted)] == wanted for at in range(len(said) - len(wanted) + 1))


def share(count: int, total: int, **detail: Any) -> Measured:
    """A part of `total`, such that those of many samples can be summed up."""
    return Measured(count / total, detail, count, total)


@metric("self_consistency", version="1", takes="repeats", better="higher", install="openomni[evaluation]",
        requires=("whisper_normalizer",))  # fmt: skip
class SelfConsistency:
    """Share of the pairs of repeats that reply in the same words: 1 where each repeat says the same.

    Args:
        normaliser: As of `wer`.
    """

    def __init__(self, normaliser: Normaliser = "auto") -> None:
        self._normaliser: Normaliser = normaliser
        self.pins = {name: value for name, value in pins(normaliser).items() if name != "jiwer"}

    def measure(self, runs: tuple[Run, ...]) -> Measured | NotApplicable:
        if len(runs) < 2:
            return not_applicable("there is one repeat, which is like itself")
        said = [normalised(run.reply_text, _language(run), self._normaliser).split() for run in runs]
        pairs = [(said[first], said[second]) for second in range(len(said)) for first in range(second)]
        return Measured(sum(one == other for one, other in pairs) / len(pairs), {"repeats": len(runs)})


def _language(run: Run) -> str:
    return next(_said(each.language for each in run.sample.utterances), "")


def _said(texts: Iterable[str]) -> Any:
    return (text for text in texts if text)
