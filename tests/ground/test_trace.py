from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openomni.trace import Span, partition, residue


def owners(parts: list) -> list[tuple[str, str, float, float]]:
    return [(part.what, part.stage, round(part.start_s, 6), round(part.end_s, 6)) for part in parts]


def test_each_instant_goes_to_the_span_that_the_next_one_waited_for() -> None:
    spans = [
        Span("eot", "end_of_turn", 10.0, 10.2),
        Span("stt", "model", 10.2, 10.5, "stt", "eot"),
        Span("llm", "model", 10.5, 12.0, "llm", "stt"),
        Span("tts", "model", 10.8, 11.5, "tts", "llm"),
        Span("play", "playback", 11.0, 11.1, "client", "tts"),
    ]
    assert owners(partition(spans, "play", 10.0, 11.1)) == [
        ("end_of_turn", "", 0.0, 0.2),
        ("model", "stt", 0.2, 0.5),
        ("model", "llm", 0.5, 0.8),
        ("model", "tts", 0.8, 1.0),
        ("playback", "client", 1.0, 1.1),
    ]


def test_what_nobody_did_is_the_residue() -> None:
    spans = [Span("a", "model", 0.2, 0.5, "stt"), Span("b", "model", 0.7, 1.0, "llm", "a")]
    parts = partition(spans, "b", 0.0, 1.1)
    assert owners(parts) == [
        ("residue", "", 0.0, 0.2),
        ("model", "stt", 0.2, 0.5),
        ("residue", "", 0.5, 0.7),
        ("model", "llm", 0.7, 1.0),
        ("residue", "", 1.0, 1.1),
    ]
    assert residue(parts) == pytest.approx(0.5)


def test_work_before_the_person_fell_silent_is_not_counted() -> None:
    parts = partition([Span("a", "model", -3.0, 0.4, "stt")], "a", 0.0, 0.4)
    assert owners(parts) == [("model", "stt", 0.0, 0.4)]


def test_an_unknown_last_span_leaves_all_to_the_residue() -> None:
    assert owners(partition([], "none", 1.0, 2.0)) == [("residue", "", 0.0, 1.0)]


def test_spans_that_name_each_other_in_a_circle_end() -> None:
    spans = [Span("a", "model", 0.0, 0.9, "x", "b"), Span("b", "model", 0.0, 0.9, "y", "a")]
    assert sum(part.seconds for part in partition(spans, "a", 0.0, 1.0)) == pytest.approx(1.0)


numbers = st.floats(0, 10, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), max_size=8), numbers, numbers)
def test_the_parts_always_cover_the_turn_without_gap_or_overlap(
    times: list[tuple[float, float]], one: float, other: float
) -> None:
    start, end = sorted((one, other))
    spans = [Span(str(index), "model", min(pair), max(pair), "s", str(index - 1)) for index, pair in enumerate(times)]
    parts = partition(spans, str(len(times) - 1), start, end)
    assert sum(part.seconds for part in parts) == pytest.approx(end - start, abs=1e-9)
    for before, after in pairwise(parts):
        assert before.end_s == after.start_s
