"""How a person's or a judge's answer becomes a score: held against its scale, whoever sent it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ... import bounds
from ...evaluation.text import word_errors
from ...metrics.rated import RatedMetric
from ...metrics.scales import Correction, OffScale
from .giving import ScoreRefused, give
from .models import Metric, Outcome, Rater, Score, Target
from .stating import asked_of

NORMALISER = "basic"
"""Of the error rate of a correction: case and punctuation do not count, in any language."""


@dataclass(frozen=True, slots=True)
class RaterAnswer:
    """What somebody answers, or why they do not: exactly one of `answer` (JSON) and an `outcome` other than `scored`.
    `made`: the text that a correction is of."""

    answer: Any = None
    outcome: Outcome = Outcome.SCORED
    comment: str = ""
    made: str = ""


def answer(
    metric: Metric, rater: Rater, target: Target, target_id: str, given: RaterAnswer, *, occasion: str = "",
    detail: Mapping[str, Any] | None = None,
) -> Score:  # fmt: skip
    """Keeps it. Raises `ScoreRefused` for what the scale does not have; nothing is kept of that."""
    asked = asked_of(metric)
    if len(given.comment) > bounds.MAX_LINE:
        raise ScoreRefused(f"{asked.name}: a comment has at most {bounds.MAX_LINE:,} characters")
    about: dict[str, Any] = {"occasion": occasion, "reason": given.comment}
    whole = dict(detail or {})
    if given.outcome != Outcome.SCORED:
        return give(metric, rater, target, target_id, outcome=given.outcome, detail=whole, **about)
    value, label, more = worth(asked, given.answer, given.made)
    return give(metric, rater, target, target_id, value=value, label=label, detail=whole | more, **about)


def worth(asked: RatedMetric, given: Any, made: str = "") -> tuple[float | None, str, dict[str, Any]]:
    """The value, the label and the detail of an answer. Raises `ScoreRefused` for what the scale does not have."""
    try:
        found = asked.rate(given)
    except OffScale as no:
        raise ScoreRefused(str(no)) from None
    if not isinstance(asked.scale, Correction):
        return found.value, found.label, {"answer": found.answer}
    errors = word_errors([found.answer], [made], NORMALISER)
    # The keys that a rate is summed up by, as programs' word error rates have them.
    counts = {"errors": errors.errors, "total": errors.total, "normaliser": NORMALISER}
    return errors.rate, found.label, {"answer": found.answer, "made": made, **counts}
