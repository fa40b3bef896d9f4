"""Who may open a live session of an id that is there: who began it, and who may add to it."""

from __future__ import annotations

from typing import Any

import pytest

from api.support import Api, api_for, person
from openomni.api.accounts.models import Project, Scope, Token
from openomni.api.records.models import Tombstone
from openomni.api.records.recorder import write_batch
from openomni.records import SessionRecord

PATH = "/sessions/s1/opening"


def token(project: Project, *scopes: str, **fields: Any) -> tuple[Token, Api]:
    made, text = Token.issue(project, scopes or [Scope.DEVICE], **fields)
    return made, Api(text)


def begin(made_by: str = "", **fields: Any) -> None:
    """A session that was live."""
    named = {"pipeline": "local", "pipeline_hash": "", "spec": {}, "version": 1}
    write_batch([SessionRecord(project="home", session_id="s1", made_by=made_by, **named, **fields)])


def test_a_new_id_is_anybodys(project: Project) -> None:
    assert token(project)[1]("GET", PATH) == {"session_id": "s1", "known": False}


def test_of_a_session_without_a_place_it_is_the_token_that_began_it(project: Project) -> None:
    mine, me = token(project)
    begin(mine.pk, status="closed")
    assert me("GET", PATH) == {"session_id": "s1", "known": True}
    for stranger in (token(project), token(project, site="north"), token(project, device="pi")):
        line = stranger[1].error("GET", PATH, status=403)
        assert line == "this token can't open the session 's1'; make a new id"


def test_a_stranger_of_another_project_is_told_the_same(project: Project, stranger: Api) -> None:
    begin()
    assert stranger.error("GET", PATH, status=403) == "this token can't open the session 's1'; make a new id"


@pytest.mark.parametrize(
    ("place", "theirs"),
    [({"site": "north"}, True), ({"device": "pi"}, True), ({"site": "north", "device": "pi"}, True),
     ({"site": "south"}, False), ({"device": "other"}, False), ({"site": "south", "device": "pi"}, False)],
)  # fmt: skip
def test_else_it_is_whose_token_has_its_place(project: Project, place: dict[str, str], theirs: bool) -> None:
    begin(site="north", device="pi")
    token(project, **place)[1]("GET", PATH, expect=200 if theirs else 403)


@pytest.mark.parametrize("scope", [Scope.RESEARCHER, Scope.ADMIN, Scope.AGENT])
def test_who_may_add_to_the_whole_project_goes_on_with_any(project: Project, scope: Scope) -> None:
    begin("someone")
    token(project, scope)[1]("GET", PATH)


def test_another_token_that_a_person_made_for_themself_is_the_same_client(project: Project) -> None:
    anna, ben = person("anna", "researcher", project), person("ben", "researcher", project)
    first, _ = token(project, created_by=anna, own=True)
    begin(first.pk)
    token(project, created_by=anna, own=True)[1]("GET", PATH)
    for other in (
        token(project, created_by=ben, own=True),
        token(project, created_by=anna),  # it may be in anybody's hands
        token(project, created_by=anna, own=True, device="pi"),
    ):
        other[1].error("GET", PATH, status=403)


def test_one_that_was_announced_is_opened_where_it_is_to_be(project: Project) -> None:
    api_for(project, Scope.RESEARCHER)("POST", "/sessions", {"session_id": "s1", "pipeline": "local", "site": "north"})
    token(project, site="north")[1]("GET", PATH)
    token(project, site="south")[1].error("GET", PATH, status=403)


def test_one_that_was_erased_is_nobodys(project: Project) -> None:
    Tombstone.objects.create(project=project, kind=Tombstone.Kind.SESSION, key="s1")
    token(project, Scope.ADMIN)[1].error("GET", PATH, status=403)
