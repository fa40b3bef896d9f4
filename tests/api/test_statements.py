"""Statements that are built once do what the ORM's would; on PostgreSQL, too, where all of tests/api runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, models, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openomni.api.accounts.models import Project
from openomni.api.ground.statements import Statements
from openomni.api.records.models import Session, Tag, TimePoint, Turn

pytestmark = pytest.mark.django_db

TURNS, TAGS, POINTS = Statements(Turn), Statements(Tag), Statements(TimePoint)


@pytest.fixture
def session(project: Project) -> Session:
    return Session.objects.create(id="s1", project=project)


def content(row: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
plain = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts
json = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
turns = st.fixed_dictionaries(
    {
        "transcript": texts,
        "voice_to_voice_s": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "warm": st.none() | st.booleans(),
        "live": st.booleans(),
        "started_at": st.none() | st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC)),
        "parts": json.filter(lambda value: value is not None),
        "asked": json,
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=turns, then=turns)
def test_a_row_is_as_the_orm_would_write_and_read_it(session: Session, first: Any, then: Any) -> None:
    Turn.objects.all().delete()
    row = Turn(id="t1", project_id=session.project_id, session=session, index=1, **first)
    TURNS.save(row)
    there = Turn.objects.get(pk="t1")
    assert content(there) | {"created_at": None} == content(row)  # the database's default
    for name, value in then.items():
        setattr(there, name, value)
    TURNS.save(there)
    assert [content(each) for each in TURNS.find(id="t1", lock=True)] == [content(Turn.objects.get(pk="t1"))]
    assert content(there) == content(Turn.objects.get(pk="t1"))


def test_what_is_not_named_is_as_the_model_has_it(session: Session) -> None:
    TURNS.insert([{"id": "t1", "project_id": session.project_id, "session_id": "s1", "index": 3}])
    by_orm = Turn.objects.create(id="t2", project_id=session.project_id, session=session, index=3)
    fields = set(content(by_orm)) - {"id", "created_at"}
    ours = Turn.objects.get(pk="t1")
    assert {name: content(ours)[name] for name in fields} == {name: content(by_orm)[name] for name in fields}
    assert abs((ours.created_at - by_orm.created_at).total_seconds()) < 60


def test_a_row_that_is_there_is_changed_where_it_is_asked_for(project: Project) -> None:
    def put(name: str, description: str, *update: str) -> None:
        row = {"project_id": project.pk, "name": name, "description": description}
        TAGS.insert([row], unique=("project_id", "name"), update=update)

    put("noisy", "a fan")
    put("noisy", "a train")
    assert TAGS.values("description", name="noisy") == [("a fan",)]
    put("noisy", "a train", "description")
    assert TAGS.values("description", name="noisy") == [("a train",)]
    with pytest.raises(IntegrityError), transaction.atomic():
        TAGS.insert([{"project_id": project.pk, "name": "noisy"}])


def test_rows_are_meant_by_a_value_a_set_of_values_or_none(session: Session) -> None:
    own = {"project_id": session.project_id, "session_id": "s1"}
    TURNS.insert({**own, "id": f"t{number}", "index": number, "warm": [None, True][number % 2]} for number in range(4))
    assert sorted(TURNS.values("id", id={"t1", "t2", "t9"})) == [("t1",), ("t2",)]
    assert TURNS.values("id", id=set()) == []
    assert sorted(TURNS.values("index", warm=None, session_id="s1")) == [(0,), (2,)]
    assert TURNS.update({"transcript": "hello"}, id={"t0", "t3", "t9"}) == 2
    assert sorted(TURNS.values("id", transcript="hello")) == [("t0",), ("t3",)]
    TURNS.delete(id={"t0"}, warm=None)
    TURNS.delete(id=set())
    assert sorted(TURNS.values("id", session_id="s1")) == [("t1",), ("t2",), ("t3",)]
    assert TURNS.first(id="t0") is None


def test_no_rows_are_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        POINTS.insert([])
