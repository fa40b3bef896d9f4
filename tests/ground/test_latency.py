"""Middle and tail of what turns took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openomni.latency import counts, median, percentile


@given(st.lists(st.none() | st.floats(0, 100)))
def test_the_median_is_the_fiftieth_percentile_of_what_was_measured(values: list[float | None]) -> None:
    assert median(values) == pytest.approx(percentile(values, 50), nan_ok=False)


def test_nothing_measured_has_no_figure() -> None:
    assert median([None]) is percentile([], 95) is None
    assert percentile([1.0, None, 2.0], 75) == 1.75


def test_only_what_was_answered_and_heard_to_its_end_counts() -> None:
    assert counts("completed", False, 0.5)
    assert not counts("completed", True, 0.5)
    assert not counts("failed", False, 0.5)
    assert not counts("completed", False, None)
