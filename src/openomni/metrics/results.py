"""What a metric may give, and what is made of it: a score, a reason why there is none, or what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

import msgspec

from .. import bounds
from ..errors import OpenOmniError
from ..evaluation.checks import LARGEST

MAX_DETAIL = 64 << 10
"""Bytes of a detail as JSON."""
MAX_LABEL = 200
Outcome = Literal["scored", "not_applicable", "failed"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, and what else is worth keeping of it.

    `errors` and `total` are what a rate is made of: those of all samples are summed up, and then divided, so that a
    long sample counts as much as it says.
    """

    value: float | bool | str
    detail: Mapping[str, Any] = field(default_factory=dict)
    errors: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """There is nothing to measure here. It is no zero: it counts in no mean, and is counted by itself."""

    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def not_applicable(reason: str, /, **detail: Any) -> NotApplicable:
    """What a metric gives where it does not apply: why, and what else is to be kept."""
    return NotApplicable(reason, detail)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """What was waited for never came. It is neither a latency of zero nor left out: a comparison takes it as endless,
    for else whoever answers only what is easy would be the fastest."""

    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def unanswered(reason: str, /, **detail: Any) -> Unanswered:
    """What a latency gives where nothing came: why, and what else is to be kept."""
    return Unanswered(reason, detail)


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one call, within the bounds of a score. `label` in place of a value for what is no number."""

    outcome: Outcome
    value: float | None = None
    label: str = ""
    reason: str = ""
    detail: dict[str, Any] = {}
    fault: bool = False
    """It is the metric that failed, not what it measured."""


class WrongResult(OpenOmniError):
    """A metric gave what is no score; the message says what, and what to give instead."""


def failed(reason: str) -> Result:
    return Result(outcome="failed", reason=line(reason), fault=True)


def result_of(given: object) -> Result:
    """What a metric gave, as it is kept. Raises `WrongResult` for NaN and other things that are no score."""
    if isinstance(given, NotApplicable):
        return Result(outcome="not_applicable", reason=line(given.reason), detail=_detail(given.detail))
    if isinstance(given, Unanswered):
        # A comparison knows by this that there was no answer to measure, rather than no measure of it.
        return Result(outcome="failed", reason=line(given.reason), detail=_detail({"unanswered": 1, **given.detail}))
    if not isinstance(given, Measured):
        given = Measured(given)  # type: ignore[arg-type]  # which is what is found out
    detail = {**given.detail, **_counted(given)}
    value = given.value
    if isinstance(value, str):
        return Result(outcome="scored", label=_label(value), detail=_detail(detail))
    return Result(outcome="scored", value=_number(value, "a value"), detail=_detail(detail))


def line(text: object) -> str:
    """As one line that can be kept, cut where it is longer than a reason may be."""
    said = " ".join(bounds.stored(str(text)).split()) or "it said nothing"
    return said if len(said) <= bounds.MAX_LINE else f"{said[: bounds.MAX_LINE - 1]}…"


def _counted(given: Measured) -> dict[str, float]:
    found = {"errors": given.errors, "total": given.total}
    return {name: _plain(_number(each, name)) for name, each in found.items() if each is not None}


def _plain(number: float) -> float:
    """A count as the whole number that it is."""
    return int(number) if number.is_integer() and abs(number) < bounds.MAX_INT else number


def _number(value: object, what: str) -> float:
    if value is None:
        raise WrongResult("gave None; give a number, a label, or not_applicable('why')")
    # numpy's numbers are Real, but for its truths.
    if not isinstance(value, Real) and type(value).__name__ not in ("bool", "bool_"):
        kind = type(value).__name__
        raise WrongResult(f"gave {what} of type {kind}; give a number, a truth, a label or not_applicable('why')")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (OverflowError, ValueError, TypeError):
        number = math.inf
    if not math.isfinite(number):
        raise WrongResult(
            f"gave {what} that is no finite number ({number}); give not_applicable('why') where none can be"
        )
    if abs(number) > LARGEST:
        raise WrongResult(f"gave {what} of {number:g}; numbers beyond {LARGEST:g} can't be compared")
    return number + 0.0  # never −0


def _label(text: str) -> str:
    if not text.strip() or len(text) > MAX_LABEL or not bounds.storable(text):
        raise WrongResult(
            f"gave a label of {len(text)} characters; a label has 1 to {MAX_LABEL}, and no NUL among them"
        )
    return text


def _detail(detail: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain = msgspec.to_builtins(dict(detail), enc_hook=_builtin)
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongResult(
            f"gave a detail that is no JSON ({line(error)}); give numbers, texts, lists and mappings"
        ) from None
    if not bounds.storable_json(plain):
        raise WrongResult("gave a detail with NaN, NUL, or what lies too deep; leave it out")
    if (size := len(msgspec.json.encode(plain))) > MAX_DETAIL:
        raise WrongResult(f"gave a detail of {size} bytes, and {MAX_DETAIL} are the most; keep the figures alone")
    return plain  # type: ignore[no-any-return]


def _builtin(value: Any) -> Any:
    """numpy's numbers, as Python's."""
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    raise TypeError(f"no JSON for {type(value).__name__}")
