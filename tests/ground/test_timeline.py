"""A turn's layout: all of the path has an owner, whatever the record says, and each stage its own time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openomni.timeline import LABELS, layout
from openomni.trace import What

SECONDS = st.none() | st.floats(0, 5)
STAGES = st.lists(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["stt", "llm"]), "component": st.sampled_from(["a", "b"]),
         "status": st.sampled_from(["completed", "failed", "superseded"]), "started_s": st.none() | st.floats(-5, 5),
         "ended_s": SECONDS, "queue_s": SECONDS, "model_s": SECONDS}
    ), max_size=3,
)  # fmt: skip
PARTS = st.lists(st.tuples(st.sampled_from([*get_args(What), "unheard_of"]), st.sampled_from(["", "stt:a", "client"]),
                           st.floats(0.001, 2)), max_size=5)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STAGES, PARTS)
def test_rows_own_the_whole_path_and_stages_their_time(
    stages: list[dict[str, Any]], owners: list[tuple[str, str, float]]
) -> None:
    parts, at = [], 0.0
    for what, stage, seconds in owners:
        parts.append({"what": what, "stage": stage, "start_s": at, "end_s": at + seconds})
        at += seconds
    laid = layout({"stages": stages, "parts": parts})
    assert sorted(each.start_s for row in laid.rows for each in row.path) == [part["start_s"] for part in parts]
    assert abs(sum(laid.shares().values()) - at) < 1e-6
    assert sum(row.what == "stage" and bool(row.status) for row in laid.rows) == len(stages)
    assert all(row.what != "residue" for row in laid.rows[:-1])
    for row in laid.rows:
        for first, second in pairwise(row.work):
            assert first.end_s == second.start_s
    if laid.span is not None:
        begin, end = laid.span
        drawn = [*laid.path, *(each for row in laid.rows for each in row.work)]
        assert all(begin <= each.start_s <= each.end_s <= end for each in drawn)


def test_everything_that_may_own_time_has_a_label() -> None:
    assert set(LABELS) == {*get_args(What), "other"}


def test_who_was_superseded_leaves_the_path_to_who_was_not() -> None:
    old = {"kind": "llm", "component": "a", "status": "superseded", "started_s": 0.0, "ended_s": 0.1, "model_s": 0.1}
    new = {**old, "status": "completed", "started_s": 0.2, "ended_s": 0.5, "model_s": 0.2}
    part = {"what": "model", "stage": "llm:a", "start_s": 0.2, "end_s": 0.4}
    first, second = layout({"stages": [old, new], "parts": [part]}).rows
    assert (first.status, first.seconds, second.status, second.path) == ("completed", 0.2, "superseded", [])
    assert [(each.what, round(each.seconds, 3)) for each in first.work] == [("model", 0.2), ("other", 0.1)]
