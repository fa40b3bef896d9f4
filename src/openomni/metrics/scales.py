"""Scales: what a rater may answer, what an answer is worth, and what averages and agreement mean on it.

A scale takes an answer as it was given (JSON) and makes a `Rated` of it: a number, a label, or both, and the answer
itself, from which a form can be filled in again. What is off the scale is an `OffScale`, whoever sent it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from .. import bounds
from ..errors import OpenOmniError, nearest

Level = Literal["nominal", "ordinal", "interval", "ratio"]
Word = Annotated[str, Meta(min_length=1, max_length=200)]
MAX_STEPS = 101
"""Answers of a scale of integers: 0 to 100."""
MAX_LABELS = 60
MAX_SPANS = 2_000
"""That one person marks on one sound."""
LABEL = 200
"""Characters of a score's label."""


class OffScale(OpenOmniError):
    """An answer that its scale does not have; the message says what it takes."""

    exit_code = 2


class Rated(msgspec.Struct, frozen=True):
    """An answer as a score keeps it."""

    value: float | None
    label: str
    answer: Any
    """As it was given, put in order: the labels sorted, the spans by time."""


class _Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    level: ClassVar[Level] = "nominal"

    def fault(self) -> str:
        """Why nobody could answer on it; empty where they can."""
        return ""

    @property
    def range(self) -> tuple[float | None, float | None]:
        """The least and the greatest value, where it has some."""
        return None, None


class Integer(_Scale, frozen=True, tag="integer"):
    """Whole numbers, some of them with words: `{kind: integer, from: 0, to: 5, words: {0: totally wrong}}`."""

    level: ClassVar[Level] = "ordinal"
    low: int = msgspec.field(default=0, name="from")
    high: int = msgspec.field(default=5, name="to")
    words: dict[str, Word] = {}

    def fault(self) -> str:
        if not 0 < self.high - self.low < MAX_STEPS:
            return f"it goes from {self.low} to {self.high}; take at least two and at most {MAX_STEPS} answers"
        steps = {str(number) for number in range(self.low, self.high + 1)}
        wrong = next((each for each in self.words if each not in steps), None)
        return "" if wrong is None else f"words has {wrong!r}, which is no answer of {self.low} to {self.high}"

    @property
    def range(self) -> tuple[float | None, float | None]:
        return float(self.low), float(self.high)

    def rate(self, answer: Any) -> Rated:
        number = _whole(answer)
        if number is None or not self.low <= number <= self.high:
            raise OffScale(f"takes a whole number of {self.low} to {self.high}, not {_shown(answer)}")
        return Rated(float(number), "", number)


class Stars(_Scale, frozen=True, tag="stars"):
    """One star or more: `{kind: stars, to: 5}`."""

    level: ClassVar[Level] = "ordinal"
    high: Annotated[int, Meta(ge=2, le=10)] = msgspec.field(default=5, name="to")

    @property
    def range(self) -> tuple[float | None, float | None]:
        return 1.0, float(self.high)

    def rate(self, answer: Any) -> Rated:
        number = _whole(answer)
        if number is None or not 1 <= number <= self.high:
            raise OffScale(f"takes 1 to {self.high} stars, not {_shown(answer)}")
        return Rated(float(number), "", number)


class YesNo(_Scale, frozen=True, tag="yes_no"):
    """Yes (1) or no (0): `{kind: yes_no}`."""

    @property
    def range(self) -> tuple[float | None, float | None]:
        return 0.0, 1.0

    def rate(self, answer: Any) -> Rated:
        if not isinstance(answer, bool):
            raise OffScale(f"takes true (yes) or false (no), not {_shown(answer)}")
        return Rated(float(answer), "yes" if answer else "no", answer)


class Number(_Scale, frozen=True, tag="number"):
    """Any number of a range, such as a feeling from −1 to 1: `{kind: number, from: -1, to: 1, step: 0.1}`."""

    level: ClassVar[Level] = "interval"
    low: float = msgspec.field(default=-1.0, name="from")
    high: float = msgspec.field(default=1.0, name="to")
    step: float = 0.1
    """What one press of a key changes; any number between is an answer, too."""
    words: dict[str, Word] = {}

    def fault(self) -> str:
        if not (all(map(bounds.finite, (self.low, self.high))) and self.low < self.high):
            return f"it goes from {self.low:g} to {self.high:g}; the first has to be less"
        if not 0 < self.step <= self.high - self.low:
            return f"a step of {self.step:g} does not fit between {self.low:g} and {self.high:g}"
        wrong = next((each for each in self.words if not self._has(_number(each))), None)
        return "" if wrong is None else f"words has {wrong!r}, which is no number of {self.low:g} to {self.high:g}"

    def _has(self, number: float | None) -> bool:
        return number is not None and self.low <= number <= self.high

    @property
    def range(self) -> tuple[float | None, float | None]:
        return self.low, self.high

    def rate(self, answer: Any) -> Rated:
        number = None if isinstance(answer, str) else _number(answer)
        if number is None or not self._has(number):
            raise OffScale(f"takes a number of {self.low:g} to {self.high:g}, not {_shown(answer)}")
        return Rated(number, "", number)


class Label(_Scale, frozen=True, tag="label"):
    """One of several labels: `{kind: label, labels: [agent, person, nobody]}`. `ordered`: from the least to the most,
    and worth 0, 1, 2, …"""

    labels: tuple[Word, ...] = ()
    ordered: bool = False

    def fault(self) -> str:
        return _labels_fault(self.labels)

    @property
    def range(self) -> tuple[float | None, float | None]:
        return (0.0, float(len(self.labels) - 1)) if self.ordered else (None, None)

    def rate(self, answer: Any) -> Rated:
        (label,) = _labels((answer,), self.labels)
        return Rated(float(self.labels.index(label)) if self.ordered else None, label, label)


class Labels(_Scale, frozen=True, tag="labels"):
    """Any of several labels, none as well: `{kind: labels, labels: [backchannel, interruption]}`."""

    labels: tuple[Word, ...] = ()

    def fault(self) -> str:
        return _labels_fault(self.labels)

    def rate(self, answer: Any) -> Rated:
        if not isinstance(answer, list | tuple) or len(answer) > MAX_LABELS:
            raise OffScale(f"takes a list of labels, not {_shown(answer)}")
        found = set(_labels(answer, self.labels))
        chosen = [each for each in self.labels if each in found]
        return Rated(float(len(chosen)), " + ".join(chosen)[:LABEL] or "none", chosen)


class Text(_Scale, frozen=True, tag="text"):
    """Words of the rater's own: `{kind: text}`."""

    longest: Annotated[int, Meta(ge=1, le=20_000)] = 2_000

    def rate(self, answer: Any) -> Rated:
        text = _text(answer, self.longest)
        if not text.strip():
            raise OffScale("takes some words; leave it out where there is nothing to say")
        return Rated(None, text.strip()[:LABEL], text)


class Correction(_Scale, frozen=True, tag="correction"):
    """The text as it should have been, in place of what a component made: `{kind: correction}`. It is worth the word
    error rate of what was made: 0 where nothing was wrong."""

    level: ClassVar[Level] = "ratio"
    longest: Annotated[int, Meta(ge=1, le=20_000)] = 20_000

    @property
    def range(self) -> tuple[float | None, float | None]:
        return 0.0, None

    def rate(self, answer: Any) -> Rated:
        """Its value is for who knows what was made: see `against`."""
        text = _text(answer, self.longest)
        return Rated(None, text.strip()[:LABEL] or "nothing was said", text)


class Spans(_Scale, frozen=True, tag="spans"):
    """Stretches of the sound, each with a label: `{kind: spans, labels: [backchannel, overlap]}`. It is worth how many
    there are."""

    labels: tuple[Word, ...] = ()
    track: Literal["person", "agent", "any"] = "any"
    """On which of the two tracks they are marked."""

    def fault(self) -> str:
        return _labels_fault(self.labels, least=1)

    @property
    def range(self) -> tuple[float | None, float | None]:
        return 0.0, float(MAX_SPANS)

    def rate(self, answer: Any) -> Rated:
        if not isinstance(answer, list | tuple):
            raise OffScale(f"takes a list of stretches, not {_shown(answer)}")
        if len(answer) > MAX_SPANS:
            raise OffScale(f"takes at most {MAX_SPANS:,} stretches, not {len(answer):,}")
        spans = sorted((self._span(each) for each in answer), key=lambda span: (span["start_s"], span["end_s"]))
        counts = {label: sum(span["label"] == label for span in spans) for label in self.labels}
        told = ", ".join(f"{count} {label}" for label, count in counts.items() if count)
        return Rated(float(len(spans)), told[:LABEL] or "none", spans)

    def _span(self, given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping) or given.keys() - {"label", "track", "start_s", "end_s"}:
            raise OffScale("a stretch has a label, a track, start_s and end_s, and nothing else")
        (label,) = _labels((given.get("label"),), self.labels)
        start, end = (_number(given.get(name)) for name in ("start_s", "end_s"))
        if start is None or end is None or not 0 <= start < end <= bounds.MAX_SECONDS:
            raise OffScale(f"a stretch ({label}) begins at start_s, 0 or more, and ends at a later end_s")
        track = given.get("track", "person" if self.track == "any" else self.track)
        if track not in (("person", "agent") if self.track == "any" else (self.track,)):
            raise OffScale(f"a stretch ({label}) is on the track {_shown(track)}; it takes {self.track}")
        return {"label": label, "track": track, "start_s": round(start, 3), "end_s": round(end, 3)}


class Preference(_Scale, frozen=True, tag="preference"):
    """Which of two is better: `{kind: preference, steps: 1, ties: true}`. −`steps` to `steps`: above 0 the first is
    better; with three steps: slightly, clearly, much."""

    level: ClassVar[Level] = "ordinal"
    steps: Annotated[int, Meta(ge=1, le=3)] = 1
    ties: bool = True

    @property
    def range(self) -> tuple[float | None, float | None]:
        return float(-self.steps), float(self.steps)

    def rate(self, answer: Any) -> Rated:
        number = _whole(answer)
        if number is None or abs(number) > self.steps:
            raise OffScale(f"takes a whole number of {-self.steps} to {self.steps}, not {_shown(answer)}")
        if not number and not self.ties:
            raise OffScale("takes no tie: choose the one that is better, however little")
        return Rated(float(number), "tie" if not number else "first" if number > 0 else "second", number)


Scale = Integer | Stars | YesNo | Number | Label | Labels | Text | Correction | Spans | Preference
KINDS: dict[str, type[Any]] = {
    "integer": Integer, "stars": Stars, "yes_no": YesNo, "number": Number, "label": Label, "labels": Labels,
    "text": Text, "correction": Correction, "spans": Spans, "preference": Preference,
}  # fmt: skip


# ---- what answers are made of ---------------------------------------------------------------------------------


def _whole(answer: Any) -> int | None:
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else None


def _number(given: Any) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        number = float(given)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(answer: Any, longest: int) -> str:
    if not isinstance(answer, str):
        raise OffScale(f"takes a text, not {_shown(answer)}")
    if len(answer) > longest:
        raise OffScale(f"takes at most {longest:,} characters, not {len(answer):,}")
    if not bounds.storable(answer):
        raise OffScale("takes a text without NUL characters and halves of surrogates")
    return answer


def _labels(given: Sequence[Any], known: Sequence[str]) -> list[str]:
    for each in given:
        if each not in known:
            hint = nearest(each, known) if isinstance(each, str) else f"there are: {', '.join(known)}"
            raise OffScale(f"does not take {_shown(each)}; {hint}")
    return list(given)


def _labels_fault(labels: Sequence[str], least: int = 2) -> str:
    if not least <= len(labels) <= MAX_LABELS:
        return f"it has {len(labels)} labels; give it {least} to {MAX_LABELS}"
    twice = next((each for each in labels if labels.count(each) > 1), None)
    return "" if twice is None else f"it has the label {twice!r} twice"


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:57]}…"
