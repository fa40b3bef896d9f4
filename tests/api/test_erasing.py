"""What erasing takes: every table is registered for it or has a reason, and nothing comes back."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import models

from api.filled import MARK
from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.erasure.erase import erase
from openomni.api.ground import erasing
from openomni.api.ground.erasing import CHUNK, ERASED, KEPT, Subject
from openomni.api.ground.scoping import ProjectOwned
from openomni.api.people.models import Participant
from openomni.api.records import writing
from openomni.api.records.models import Item, Recording, Segment, Session, Task, Tombstone, Turn
from openomni.api.scores.models import Metric, Rater, Score
from openomni.records import ItemRecord, RecordingRecord, SessionRecord, TurnRecord

OWNED = [model for model in apps.get_models() if issubclass(model, ProjectOwned)]


@pytest.mark.parametrize("model", OWNED, ids=lambda model: model.__name__)
def test_every_table_is_erased_or_kept_with_a_reason(model: type[ProjectOwned]) -> None:
    """A new one that is neither fails here: say what erases it, or why nothing does."""
    assert (model in ERASED) != (model in KEPT)
    if model in KEPT:
        assert len(KEPT[model].split()) > 3
        assert KEPT[model].endswith(".")


BY_NAME = {"participant": Subject.PARTICIPANT, "turn_id": Subject.TURN, "reruns": Subject.TURN}
"""Fields that name a subject without being a relation."""


def along(model: type[models.Model]) -> set[Subject]:
    """The subjects with which a row that points at one of this table must go."""
    itself = ERASED[model].is_subject if model in ERASED else None
    return {itself} if itself else set(ERASED[model].ways) if model in ERASED else set()


@pytest.mark.parametrize("model", OWNED, ids=lambda model: model.__name__)
def test_what_points_at_something_that_is_erased_is_erased_with_it(model: type[ProjectOwned]) -> None:
    fields = (each for each in model._meta.get_fields() if each.concrete and each.is_relation)
    wanted = {subject for field in fields for subject in along(field.related_model)}
    wanted |= {BY_NAME[field.name] for field in model._meta.concrete_fields if field.name in BY_NAME}
    assert wanted <= set(ERASED[model].ways if model in ERASED else ())


@pytest.mark.parametrize("model", ERASED, ids=lambda model: model.__name__)
def test_all_ways_lead_to_rows(model: type[ProjectOwned], db: None) -> None:
    for subject in ERASED[model].ways:
        for found in erasing.rows(model, "home", {subject: [str(each) for each in range(CHUNK + 1)]}):
            assert not found.exists()


def test_nothing_is_left_of_a_person(filled: Project, django_capture_on_commit_callbacks: Any) -> None:
    erase(filled.pk, Subject.PARTICIPANT, f"code-{MARK}")
    assert [model.__name__ for model in ERASED if model.objects.exists()] == []
    assert [model.__name__ for model in KEPT if not model.objects.exists()] == []


def test_what_is_erased_is_told_by_table(filled: Project) -> None:
    gone = erase(filled.pk, Subject.SESSION, f"session{MARK}")
    assert (gone["records.Turn"], gone["records.Tagged"], gone["scores.Score"], gone["records.Derived"]) == (1, 2, 1, 1)
    assert Participant.objects.exists(), "the person is another matter than one of their sessions"
    buried = set(Tombstone.objects.values_list("kind", "key"))
    assert buried >= {("session", f"session{MARK}"), ("turn", f"turn{MARK}"), ("recording", f"recording{MARK}")}
    assert erase(filled.pk, Subject.SESSION, f"session{MARK}") == {}, "again changes nothing"


def test_another_projects_rows_stay(filled: Project, other_project: Project) -> None:
    for subject, key in ((Subject.SESSION, f"session{MARK}"), (Subject.PARTICIPANT, f"code-{MARK}")):
        assert erase(other_project.pk, subject, key) == {}
    assert Turn.objects.exists()


# ---- of several ----------------------------------------------------------------------------------------------


@pytest.fixture
def two(project: Project) -> Project:
    """Ana's session with two turns, one of them run again; in Ben's somebody took her voice for hers."""
    own = {"project": project}
    for key, code in (("s-ana", "ana"), ("s-ben", "ben")):
        session = Session.objects.create(**own, id=key, participant=code)
        for index in range(2):
            turn = Turn.objects.create(**own, id=f"{key}-{index}", session=session, index=index, participant=code)
            Segment.objects.create(**own, session=session, turn=turn, participant=code, start=0, end=1)
            Item.objects.create(**own, session=session, item_id=f"user:{turn.pk}", role="user", turn_id=turn.pk)
        Recording.objects.create(**own, id=f"r-{code}", session=session, participant=code)
    Segment.objects.create(**own, session_id="s-ben", turn_id="s-ben-1", participant="ana", start=1, end=2)
    again = Session.objects.create(**own, id="again", origin="reprocess", source="session:s-ana", participant="ana")
    Turn.objects.create(**own, id="again-0", session=again, index=0, reruns="s-ana-0")
    return project


def left() -> set[str]:
    return {str(row.pk) for model in (Session, Turn, Recording) for row in model.objects.all()}


BEN = {"s-ben", "s-ben-0", "s-ben-1", "r-ben"}


@pytest.mark.parametrize(
    ("subject", "key", "stays"),
    [
        (Subject.PARTICIPANT, "ana", BEN - {"s-ben-1"}),
        (Subject.SESSION, "s-ana", BEN),
        (Subject.TURN, "s-ana-0", BEN | {"s-ana", "s-ana-1", "r-ana", "again"}),
        (Subject.RECORDING, "r-ana", BEN | {"s-ana", "s-ana-0", "s-ana-1", "again", "again-0"}),
        (Subject.TURN, "again-0", BEN | {"s-ana", "s-ana-0", "s-ana-1", "r-ana", "again"}),
    ],
)
def test_what_goes_along_and_what_stays(two: Project, subject: Subject, key: str, stays: set[str]) -> None:
    erase(two.pk, subject, key)
    assert left() == stays
    assert {each.turn_id for each in Item.objects.all()} == {
        each for each in stays if each.startswith(("s-ana-", "s-ben-"))
    }


def test_scores_of_all_that_a_turn_is_made_of_go_with_it(two: Project) -> None:
    metric = Metric.objects.create(project=two, name="m", version="1")
    rater = Rater.objects.create(project=two, kind="program", name="p")
    Task.objects.create(project=two, turn_id="s-ana-0", task_id="k", kind="llm", component="c")
    ana, ben = (str(Segment.objects.filter(turn_id=key).get().pk) for key in ("s-ana-0", "s-ben-0"))
    targets = (
        *(("turn", "s-ana-0"), ("task", "k"), ("segment", ana)),
        *(("pair", "s-ana-0 s-ben-0"), ("pair", "s-ben-0 s-ana-0")),
        *(("turn", "s-ben-0"), ("segment", ben), ("session", "s-ana"), ("pair", "s-ben-0 s-ben-1")),
    )  # fmt: skip
    for target, key in targets:
        Score.objects.create(
            project=two, metric=metric, rater=rater, target=target, target_id=key, outcome="scored", value=1.0
        )
    erase(two.pk, Subject.TURN, "s-ana-0")
    assert list(Score.objects.order_by("id").values_list("target", "target_id")) == list(targets[5:])
    erase(two.pk, Subject.SESSION, "s-ana")
    assert not Score.objects.filter(target="session").exists()


def test_what_was_erased_does_not_come_back(two: Project, admin: Api) -> None:
    erase(two.pk, Subject.SESSION, "s-ana")
    turn = TurnRecord(project="home", turn_id="s-ana-9", session_id="s-ana", index=9, pipeline="", pipeline_hash="")
    writing.write_all(
        [
            SessionRecord(project="home", session_id="s-ana", pipeline="", pipeline_hash="", spec={}),
            turn,
            TurnRecord(project="home", turn_id="late", session_id="another", index=0, pipeline="", pipeline_hash="",
                       reruns="s-ana-0"),
            ItemRecord(project="home", session_id="s-ana", item_id="i", position=0, role="user", content="still here"),
            RecordingRecord(project="home", recording_id="r-ana", kind="audio", session_id="another"),
        ]
    )  # fmt: skip
    assert left() == BEN
    assert "was erased" in admin.error("PUT", "/recordings/r-ana", {}, status=409)
    admin.error("PUT", "/recordings/new", {"session_id": "s-ana"}, status=409)
    device = api_for(two, Scope.DEVICE)
    device.error("POST", "/sessions", {"session_id": "s-ana", "pipeline": "local"}, status=409)
    assert left() == BEN


def test_what_is_not_here_yet_is_buried(two: Project, admin: Api) -> None:
    assert erase(two.pk, Subject.RECORDING, "on-its-way") == {}
    admin.error("PUT", "/recordings/on-its-way", {}, status=409)
