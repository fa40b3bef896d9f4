from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openomni import clock
from openomni.clock import Offset, OffsetEstimator

seconds = st.floats(0, 0.5)


@given(
    true=st.floats(-1e5, 1e5),
    trips=st.lists(st.tuples(seconds, seconds, seconds), min_size=1, max_size=40),
)
def test_the_true_offset_lies_within_the_uncertainty(true: float, trips: list[tuple[float, float, float]]) -> None:
    estimator = OffsetEstimator()
    for number, (out, thinking, back) in enumerate(trips):
        sent = number * 10.0
        received = sent + out + thinking + back
        estimator.add(sent, sent + out + true, sent + out + thinking + true, received)
    offset = estimator.offset
    assert offset is not None
    assert abs(offset.seconds - true) <= offset.uncertainty + 1e-6


def test_the_shortest_round_trip_is_believed() -> None:
    estimator = OffsetEstimator()
    estimator.add(0.0, 100.4, 100.4, 0.5)
    estimator.add(1.0, 101.001, 101.001, 1.002)
    assert estimator.offset == Offset(pytest.approx(100.0), pytest.approx(0.001))  # type: ignore[arg-type]


def test_an_old_estimate_drifts_out() -> None:
    estimator = OffsetEstimator(window=4)
    estimator.add(0.0, 5.0, 5.0, 0.0)
    for number in range(1, 6):
        estimator.add(number, number + 7.01, number + 7.01, number + 0.02)
    assert estimator.offset is not None
    assert estimator.offset.seconds == pytest.approx(7.0)


def test_there_is_no_offset_before_the_first_round_trip() -> None:
    assert OffsetEstimator().offset is None


def test_a_stamp_goes_over_and_comes_back() -> None:
    offset = Offset(12.5, 0.001)
    assert offset.to_local(offset.to_remote(3.0)) == 3.0


def test_a_virtual_clock_stands_in_and_steps_back() -> None:
    with clock.using(lambda: 42.0):
        assert clock.now() == 42.0
    assert clock.now() != 42.0


@given(
    apart=st.floats(-10, 10),
    drift=st.floats(-clock.DRIFT, clock.DRIFT),
    ways=st.lists(st.tuples(st.floats(0.0002, 0.02), st.floats(0.0002, 0.02)), min_size=1, max_size=120),
)
def test_clocks_that_drift_apart_are_followed(apart: float, drift: float, ways: list[tuple[float, float]]) -> None:
    """A round trip every two seconds, slow or quick: the estimate is right within what it says, at any time after."""

    def there(at: float) -> float:
        return at + apart + drift * at

    estimator = OffsetEstimator()
    for number, (out, back) in enumerate(ways):
        sent, met, received = 2.0 * number, 2.0 * number + out, 2.0 * number + out + back
        estimator.add(sent, there(met), there(met), received)
        for later in (received, received + 1.9):
            offset = estimator.at(later)
            assert offset is not None
            assert abs(offset.seconds - (there(later) - later)) <= offset.uncertainty + 1e-9


def test_after_an_hour_of_drift_a_quick_trip_of_long_ago_is_believed_no_more() -> None:
    estimator = OffsetEstimator()
    for number in range(1800):
        at, quick = 2.0 * number, 0.0001 if number % 30 == 0 else 0.002
        there = at + quick + 5.0 + clock.DRIFT * at
        estimator.add(at, there, there, at + 2 * quick)
    offset = estimator.at(3600.0)
    assert offset is not None
    assert abs(offset.seconds - (5.0 + clock.DRIFT * 3600.0)) <= offset.uncertainty < 0.0025


def test_a_clock_that_jumped_is_followed_at_once() -> None:
    estimator = OffsetEstimator()
    for number in range(8):
        estimator.add(number, number + 5.0001, number + 5.0001, number + 0.0002)
    estimator.add(8.0, 38.02, 38.02, 8.04)  # the other machine slept, or began anew
    assert estimator.offset == Offset(pytest.approx(30.0), pytest.approx(0.02))  # type: ignore[arg-type]
