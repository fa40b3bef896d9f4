"""What a metric gives is a score, a reason why there is none, or a fault; nothing else, and nothing out of bounds."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openomni import bounds
from openomni.metrics import Measured, Result, not_applicable
from openomni.metrics.results import MAX_DETAIL, MAX_LABEL, WrongResult, failed, result_of

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4) | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("gave", "value"),
    [(3, 3.0), (True, 1.0), (np.float32(0.5), 0.5), (np.int64(2), 2.0), (np.bool_(False), 0.0), (-0.0, 0.0)],
)
def test_numbers_and_truths_are_values(gave: Any, value: float) -> None:
    result = result_of(gave)
    assert (result.outcome, result.value) == ("scored", value)
    assert math.copysign(1, result.value or 0.0) == 1  # no −0


def test_a_text_is_a_label() -> None:
    assert result_of("polite") == Result(outcome="scored", label="polite")


@pytest.mark.parametrize(
    ("gave", "line"),
    [
        (None, "gave None"),
        (math.nan, "no finite number (nan)"),
        (-math.inf, "no finite number"),
        (10**400, "no finite number"),
        ([0.5], "of type list"),
        (1j, "of type complex"),
        ("", "a label has 1 to 200"),
        ("x" * 201, "a label has 1 to 200"),
        ("a\0", "no NUL"),
        (Measured(1, {"x": math.nan}), "NaN"),
        (Measured(1, {"x": object()}), "no JSON"),
        (Measured(1, {"x": "y" * MAX_DETAIL}), "are the most"),
        (Measured(1, errors=math.nan), "gave errors that is no finite number"),
        (not_applicable("why", x=math.inf), "NaN"),
    ],
)
def test_what_is_no_score_is_refused_with_the_reason(gave: Any, line: str) -> None:
    with pytest.raises(WrongResult) as refused:
        result_of(gave)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@settings(max_examples=50)
@given(ANYTHING, ANYTHING, ANYTHING)
def test_whatever_is_given_comes_out_within_bounds_or_not_at_all(value: Any, detail: Any, reason: Any) -> None:
    for gave in (value, Measured(value, {"x": detail}), not_applicable(reason, x=detail)):
        try:
            result = result_of(gave)
        except WrongResult:
            continue
        assert (result.value is None) == bool(result.label) or result.outcome != "scored"
        assert result.value is None or math.isfinite(result.value)
        assert len(result.label) <= MAX_LABEL
        assert bounds.storable_json(msgspec.to_builtins(result))
        assert len(msgspec.json.encode(result.detail)) <= MAX_DETAIL
        assert result.outcome != "not_applicable" or 0 < len(result.reason) <= bounds.MAX_LINE


@given(st.text(max_size=5000))
def test_a_reason_is_one_line_whatever_was_raised(text: str) -> None:
    reason = failed(text).reason
    assert 0 < len(reason) <= bounds.MAX_LINE
    assert len(reason.splitlines()) == 1
    assert bounds.storable(reason)
