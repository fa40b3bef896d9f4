"""Tags over REST: made, renamed, put on turns and sessions, and looked for."""

from __future__ import annotations

from typing import Any

import pytest

from api.support import Api, api_for
from openomni import bounds
from openomni.api.accounts.models import Project, Scope
from openomni.api.records.models import Session, Tag, Tagged, Turn


@pytest.fixture
def talk(project: Project) -> Session:
    """A session of the north with three turns, and one of the south with none."""
    session = Session.objects.create(project=project, id="s1", pipeline="local", pipeline_hash="h", site="north")
    for index in range(3):
        Turn.objects.create(
            project=project, session=session, id=f"t{index}", index=index, pipeline="local", pipeline_hash="local"
        )
    Session.objects.create(project=project, id="s2", site="south")
    return session


def made(admin: Api, name: str, **fields: Any) -> Any:
    return admin("POST", "/tags", {"name": name, **fields}, 201)


def bearers(caller: Api, query: str) -> list[tuple[str | None, int | None]]:
    return [
        (each["turn_id"] or each["session_id"], each["place"]) for each in caller("GET", f"/tagged?{query}")["items"]
    ]


def test_tags_are_made_renamed_and_listed_by_name(admin: Api) -> None:
    made(admin, "noisy", description="a fan")
    made(admin, "debate", ordered=True)
    listed = admin("GET", "/tags?limit=1")
    assert (listed["items"][0]["name"], listed["items"][0]["ordered"]) == ("debate", True)
    assert [each["name"] for each in admin("GET", f"/tags?cursor={listed['next']}")["items"]] == ["noisy"]
    assert admin("PATCH", "/tags/noisy", {"name": "with a fan"})["description"] == "a fan"
    assert admin("GET", "/tags/with%20a%20fan")["name"] == "with a fan"
    assert "did you mean 'debate'?" in admin.error("GET", "/tags/debat", status=404)


def test_a_name_is_taken_once_in_a_project(admin: Api, stranger: Api) -> None:
    made(admin, "noisy")
    made(admin, "quiet")
    made(stranger, "noisy")
    assert "already" in admin.error("POST", "/tags", {"name": "noisy"}, status=409)
    assert "already" in admin.error("PATCH", "/tags/quiet", {"name": "noisy"}, status=409)
    assert admin("PATCH", "/tags/quiet", {"name": "quiet"})["name"] == "quiet"


@pytest.mark.parametrize("name", ["", "a/b", "..", " a", "a ", "a\nb", "x" * 81])
def test_a_name_that_no_path_could_hold_is_refused(admin: Api, name: str) -> None:
    admin.error("POST", "/tags", {"name": name}, status=422)
    assert not Tag.objects.exists()


def test_turns_and_sessions_bear_a_label_and_are_found_by_it(admin: Api, talk: Session) -> None:
    made(admin, "noisy")
    for _ in range(2):  # it is borne once
        worn = admin("PUT", "/turns/t1/tags/noisy")
    assert (worn["tag"], worn["turn_id"], worn["session_id"], worn["place"]) == ("noisy", "t1", None, None)
    admin("PUT", "/sessions/s2/tags/noisy")
    assert [each["turn_id"] for each in admin("GET", "/turns?tag=noisy")["items"]] == ["t1"]
    assert [each["turn_id"] for each in admin("GET", "/turns?tag=noisy&pipeline=local")["items"]] == ["t1"]
    assert [each["session_id"] for each in admin("GET", "/sessions?tag=noisy")["items"]] == ["s2"]
    assert admin("GET", "/sessions?tag=quiet")["items"] == []
    assert bearers(admin, "tag=noisy") == [("s2", None), ("t1", None)]
    assert bearers(admin, "turn=t1") == [("t1", None)]
    admin("DELETE", "/turns/t1/tags/noisy", expect=204)
    assert "no tag on turn 't1'" in admin.error("DELETE", "/turns/t1/tags/noisy", status=404)
    assert admin("GET", "/turns?tag=noisy")["items"] == []


def test_an_ordered_group_has_its_members_in_their_places(admin: Api, talk: Session) -> None:
    made(admin, "debate", ordered=True)
    for key in ("t2", "t0"):
        admin("PUT", f"/turns/{key}/tags/debate")
    admin("PUT", "/sessions/s1/tags/debate?place=7")
    assert bearers(admin, "tag=debate") == [("t2", 0), ("t0", 1), ("s1", 7)]
    assert "taken" in admin.error("PUT", "/turns/t1/tags/debate?place=1", status=409)
    admin("PUT", "/turns/t2/tags/debate?place=9")
    assert admin("PUT", "/turns/t2/tags/debate")["place"] == 9, "it keeps its place"
    assert admin("PUT", "/turns/t1/tags/debate")["place"] == 10
    assert bearers(admin, "tag=debate") == [("t0", 1), ("s1", 7), ("t2", 9), ("t1", 10)]
    first = admin("GET", "/tagged?tag=debate&limit=3")
    assert [each["turn_id"] for each in admin("GET", f"/tagged?tag=debate&cursor={first['next']}")["items"]] == ["t1"]


def test_a_place_is_within_bounds_and_in_a_group(admin: Api, talk: Session) -> None:
    made(admin, "noisy")
    made(admin, "debate", ordered=True)
    assert "label" in admin.error("PUT", "/turns/t1/tags/noisy?place=1", status=400)
    for place in ("-1", str(bounds.MAX_PLACE + 1), "first"):
        admin.error("PUT", f"/turns/t1/tags/debate?place={place}", status=422)
    admin("PUT", f"/turns/t1/tags/debate?place={bounds.MAX_PLACE}")
    assert "behind the last" in admin.error("PUT", "/turns/t2/tags/debate", status=409)


def test_a_deleted_tag_is_taken_off_and_its_bearers_stay(admin: Api, talk: Session) -> None:
    made(admin, "noisy")
    admin("PUT", "/turns/t1/tags/noisy")
    admin("DELETE", "/tags/noisy", expect=204)
    assert not Tagged.objects.exists()
    assert admin("GET", "/turns/t1")["turn_id"] == "t1"
    admin.error("PUT", "/turns/t1/tags/noisy", status=404)


def test_who_reads_does_not_tag(project: Project, admin: Api, talk: Session) -> None:
    made(admin, "noisy")
    viewer, device = api_for(project, Scope.VIEWER), api_for(project, Scope.DEVICE)
    assert viewer("GET", "/tags")["items"]
    viewer.error("PUT", "/turns/t1/tags/noisy", status=403)
    for path in ("/tags", "/tagged"):
        device.error("GET", path, status=403)


def test_a_token_of_a_site_tags_what_is_of_it_and_sees_nothing_else(
    admin: Api, project: Project, talk: Session
) -> None:
    made(admin, "debate", ordered=True)
    north, south = (api_for(project, Scope.RESEARCHER, site=site) for site in ("north", "south"))
    north("PUT", "/turns/t1/tags/debate")
    south("PUT", "/sessions/s2/tags/debate")
    south.error("PUT", "/turns/t1/tags/debate", status=404)
    south.error("DELETE", "/turns/t1/tags/debate", status=404)
    assert bearers(north, "tag=debate") == [("t1", 0)]
    assert bearers(south, "tag=debate") == [("s2", 1)]
    assert [each["name"] for each in south("GET", "/tags")["items"]] == ["debate"], "a tag is the whole project's"
    for method, path, body in (("POST", "/tags", {"name": "x"}), ("PATCH", "/tags/debate", {"name": "x"})):
        south.error(method, path, body, status=403)
    south.error("DELETE", "/tags/debate", status=403)


def test_a_tag_of_another_project_is_put_on_nothing_of_ours(stranger: Api, admin: Api, talk: Session) -> None:
    made(stranger, "theirs")
    admin.error("PUT", "/turns/t1/tags/theirs", status=404)
    made(admin, "ours")
    stranger.error("PUT", "/turns/t1/tags/ours", status=404)
