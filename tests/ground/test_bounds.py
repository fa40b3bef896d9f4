"""What comes from outside is a number, a text or a size that everything behind it can take."""

from __future__ import annotations

import functools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openomni import bounds


@given(st.text(st.characters(codec=None)))
def test_what_is_stored_can_be_stored_and_is_as_long(text: str) -> None:
    stored = bounds.stored(text)
    assert bounds.storable(stored)
    assert len(stored) == len(text)
    if bounds.storable(text):
        assert stored == text


@pytest.mark.parametrize("text", ["a\0b", "\ud83d", "x\udfff"])
def test_no_nul_and_no_half_of_a_surrogate(text: str) -> None:
    assert not bounds.storable(text)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        "a\0b",
        {"a\0": 1},
        [[2**63]],
        {1: 2},
        object(),
        functools.reduce(lambda x, _: [x], range(30), []),
    ],
)
def test_what_json_or_a_database_would_change_is_no_json_here(value: object) -> None:
    assert not bounds.storable_json(value)
    assert not bounds.storable_json({"a": [value]})


@pytest.mark.parametrize("value", [None, True, -(2**63), 0.5, "é漢", [1, {"a": [None]}], {}])
def test_what_comes_back_the_same_is(value: object) -> None:
    assert bounds.storable_json(value)
    assert msgspec.json.decode(msgspec.json.encode(value)) == value


@given(st.floats())
def test_a_bounded_number_is_a_number(value: float) -> None:
    assert bounds.finite(value) == (math.isfinite(value) and abs(value) <= bounds.MAX_SECONDS)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (bounds.Position, 2**63),
        (bounds.Position, -1),
        (bounds.Moment, 1e20),
        (bounds.Moment, -1e12),
        (bounds.Rate, 2**40),
        (bounds.Id, "../x"),
        (bounds.Id, ""),
        (bounds.Seconds, 1e300),
    ],
)
def test_a_message_with_more_is_refused_where_it_is_read(kind: type, wrong: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(wrong), type=kind)
