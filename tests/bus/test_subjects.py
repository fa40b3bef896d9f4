"""No name from outside widens a subject."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openomni.bus import subjects
from openomni.errors import WrongUsage


@pytest.mark.parametrize("name", ["*", ">", "a.b", "", "a b", "x" * 65])
def test_a_wildcard_is_no_name(name: str) -> None:
    for made in (
        lambda: subjects.live("ward", name or "?", "s1", "in"),
        lambda: subjects.live("ward", "north", name, "out"),
        lambda: subjects.call("ward", name),
        lambda: subjects.here("ward", name),
        lambda: subjects.claim("ward", name),
    ):
        with pytest.raises(WrongUsage):
            made()


def test_each_of_them_is_asked_for_by_name() -> None:
    assert subjects.live("ward", subjects.ANY, subjects.ANY, "in") == "oo.ward.live.*.*.in"
    assert subjects.record(subjects.ANY) == "oo.*.record"


@given(st.text(), st.text())
def test_a_subject_has_the_parts_it_says(site: str, session_id: str) -> None:
    try:
        subject = subjects.live("ward", site, session_id, "in")
    except WrongUsage:
        return
    assert subject.split(".") == ["oo", "ward", "live", site or "-", session_id, "in"]
