"""Scores are checked against their metric, added and never replaced; an error is an outcome."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from openomni.api.accounts.models import Project
from openomni.api.scores.giving import ScoreRefused, give, standing
from openomni.api.scores.models import Metric, Outcome, Rater, Score, Target


@pytest.fixture
def metric(project: Project) -> Metric:
    return Metric.objects.create(project=project, name="overall", version="1", low=0, high=5, level="ordinal")


@pytest.fixture
def ana(project: Project) -> Rater:
    return Rater.objects.create(project=project, kind=Rater.Kind.PERSON, name="ana")


def test_who_scores_again_adds_a_revision_and_what_was_said_first_stays(metric: Metric, ana: Rater) -> None:
    give(metric, ana, Target.TURN, "t1", value=3)
    give(metric, ana, Target.TURN, "t1", value=4, reason="heard it again")
    assert [(each.revision, each.value) for each in Score.objects.order_by("revision")] == [(1, 3), (2, 4)]
    assert [each.value for each in standing(Score.objects.all())] == [4]


def test_the_same_again_adds_nothing(metric: Metric, ana: Rater) -> None:
    first = give(metric, ana, Target.TURN, "t1", value=3, detail={"seconds": 2.5})
    assert give(metric, ana, Target.TURN, "t1", value=3, detail={"seconds": 2.5}) == first
    assert Score.objects.count() == 1


def test_each_rater_and_each_version_of_a_metric_stands_by_itself(project: Project, metric: Metric, ana: Rater) -> None:
    judge = Rater.objects.create(project=project, kind=Rater.Kind.JUDGE, name="judge", version="build-1")
    newer = Metric.objects.create(project=project, name="overall", version="2")
    for rater in (ana, judge):
        for version in (metric, newer):
            give(version, rater, Target.TURN, "t1", value=1)
    assert standing(Score.objects.all()).count() == 4


@pytest.mark.parametrize("outcome", [Outcome.NOT_APPLICABLE, Outcome.UNPARSED, Outcome.FAILED, Outcome.SKIPPED])
def test_what_could_not_be_scored_is_kept_with_its_reason_and_has_no_value(
    metric: Metric, ana: Rater, outcome: Outcome
) -> None:
    kept = give(metric, ana, Target.TURN, "t1", outcome=outcome, reason="silence")
    assert (kept.outcome, kept.value, kept.reason) == (outcome, None, "silence")
    with pytest.raises(ScoreRefused, match="has no value"):
        give(metric, ana, Target.TURN, "t1", outcome=outcome, value=0)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"value": 6}, "takes 0 to 5, and this is 6"),
        ({"value": -0.1}, "takes 0 to 5"),
        ({"value": math.nan}, "finite number"),
        ({}, "a value or a label"),
        ({"value": 1, "label": "x" * 201}, "at most 200"),
        ({"value": 1, "reason": "a\0b"}, "no NUL"),
        ({"value": 1, "detail": {"x": "y" * 70_000}}, "bytes"),
    ],
)
def test_what_the_metric_does_not_take_is_refused_in_a_line(
    metric: Metric, ana: Rater, said: dict[str, Any], line: str
) -> None:
    with pytest.raises(ScoreRefused, match=line):
        give(metric, ana, Target.TURN, "t1", **said)
    assert not Score.objects.exists()


def test_a_target_of_another_kind_or_a_rater_of_another_project_is_refused(
    metric: Metric, ana: Rater, other_project: Project
) -> None:
    with pytest.raises(ScoreRefused, match="takes a turn, and this is a session"):
        give(metric, ana, Target.SESSION, "s1", value=1)
    stranger = Rater.objects.create(project=other_project, kind=Rater.Kind.PERSON, name="eve")
    with pytest.raises(ScoreRefused, match="another project"):
        give(metric, stranger, Target.TURN, "t1", value=1)


def test_the_database_itself_keeps_a_scored_row_from_having_no_value(metric: Metric, ana: Rater) -> None:
    row = {"project_id": metric.project_id, "metric": metric, "rater": ana, "target": "turn", "target_id": "t1"}
    with pytest.raises(IntegrityError), transaction.atomic():
        Score.objects.create(**row, outcome=Outcome.SCORED)
    with pytest.raises(IntegrityError), transaction.atomic():
        Score.objects.create(**row, outcome=Outcome.FAILED, value=0.0)


@pytest.mark.django_db(transaction=True)
def test_scores_given_from_several_places_at_once_are_all_kept(metric: Metric, ana: Rater) -> None:
    def say(value: int) -> None:
        try:
            give(metric, ana, Target.TURN, "t1", value=value)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(say, range(4)))
    assert sorted(each.value for each in Score.objects.all()) == [0, 1, 2, 3]
    assert sorted(each.revision for each in Score.objects.all()) == [1, 2, 3, 4]


class TestArbitraryScores(TestCase):
    """Whatever a rater says is kept as it is or refused in a line."""

    @given(
        value=st.none() | st.floats(),
        label=st.text(max_size=300),
        reason=st.text(max_size=50),
        outcome=st.sampled_from(Outcome),
        detail=st.dictionaries(
            st.text(max_size=5), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
        ),
    )
    @settings(max_examples=60, deadline=None)
    def test(self, value: float | None, label: str, reason: str, outcome: Outcome, detail: dict[str, Any]) -> None:
        project, _ = Project.objects.get_or_create(slug="home", name="Home")
        metric, _ = Metric.objects.get_or_create(project=project, name="m", version="1")
        rater, _ = Rater.objects.get_or_create(project=project, kind="person", name="ana")
        given_ = {"value": value, "label": label, "reason": reason, "outcome": outcome, "detail": detail}
        try:
            give(metric, rater, Target.TURN, "t1", **given_)  # type: ignore[arg-type]
        except ScoreRefused:
            assert not Score.objects.exists()
        else:
            (kept,) = standing(Score.objects.all())
            assert {name: getattr(kept, name) for name in given_} == given_
