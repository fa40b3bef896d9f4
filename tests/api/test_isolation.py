"""Two projects on one server: nobody reads or changes what is another's, on any endpoint there is."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin as django_admin
from django.db import connection, models
from django.http import HttpResponse
from django.test import Client

from api.filled import IDS, MARK, endpoints, fields_of, filled_in
from api.support import Api, api_for, body_of, person
from openomni.api.accounts.models import Membership, Project, Scope, Token
from openomni.api.ground.scoping import ProjectOwned
from openomni.api.media.store import storage
from openomni.api.places.models import Device, Site
from openomni.api.records import writing
from openomni.api.records.models import (
    Recording,
    Session,
)
from openomni.records import SessionRecord, TurnRecord

READING = [each for each in endpoints() if each[0] == "get"]
PUBLIC = {("get", "/api/v1/hello")}
"""Endpoints that anyone may call."""


def by_area(several: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """`area`: those of one first name each. To fill a project takes longer than to ask one of them."""
    areas: dict[str, list[tuple[str, str]]] = {}
    for method, path in several:
        areas.setdefault(path.split("/")[3], []).append((method, path))
    return pytest.mark.parametrize("area", areas.values(), ids=areas.keys())


def everything() -> str:
    """All rows of the project, a line each."""
    owned = [model for model in apps.get_models() if issubclass(model, ProjectOwned)]
    found = []
    with connection.cursor() as cursor:
        for table in (model._meta.db_table for model in owned):
            cursor.execute(f'SELECT * FROM "{table}" WHERE project_id = %s ORDER BY 1', ["home"])
            found += [f"{table} {row}" for row in cursor.fetchall()]
    return "\n".join(found)


def text_of(answer: HttpResponse) -> str:
    """What it says; of a refusal without the names that were asked for, which may come back in its line."""
    said = body_of(answer).decode()
    for name in (*IDS.values(), f"site-{MARK}", f"device-{MARK}") if answer.status_code >= 400 else ():
        said = said.replace(name, "")
    return said


def bodies(method: str, path: str) -> list[Any]:
    """Requests that would change something if they were let through."""
    if method == "get":
        return [None]
    change: dict[str, Any] = {
        "name": "taken over", "notes": "taken over", "purpose": "training", "token": "oo_x_y", "kind": "audio",
        "spec": {"name": "taken-over", "stages": []}, "session_id": f"session{MARK}", "pipeline": "local",
        "recording_id": f"recording{MARK}", "spans": [[0, 1]], "sha256": "0" * 64, "size": 1, "slug": "taken-over",
        "public_key": "U" + "A" * 55,
    }  # fmt: skip
    return [{name: value for name, value in change.items() if name in fields_of(method, path)}, b"bytes", None]


@by_area(endpoints())
def test_a_strangers_token_gets_and_changes_nothing(
    area: list[tuple[str, str]], filled: Project, stranger: Api
) -> None:
    before = everything()
    for method, path, body in [(*each, body) for each in area for body in bodies(*each)]:
        if body == b"bytes" and "content" not in path and method != "patch":
            continue
        answer = stranger.raw(method.upper(), filled_in(path), body)
        said = text_of(answer)
        assert MARK not in said, f"{method} {path}: {answer.status_code} {said[:300]}"
        assert answer.status_code < 500 or answer.status_code == 503, f"{method} {path}: {answer.status_code} {said}"
        if "{" in path and answer.status_code < 300:
            assert (method, path) in MAKES_ONES_OWN, f"{method} {path} found another project's row: {said[:300]}"
        assert everything() == before, f"{method} {path}"


MAKES_ONES_OWN = {("put", "/api/v1/recordings/{recording_id}"), ("put", "/api/v1/pipelines/{name}")}
"""Where one's own thing of that name is made."""


@by_area(endpoints())
def test_nothing_is_served_without_a_token(area: list[tuple[str, str]], filled: Project) -> None:
    for method, path in area:
        answer = Api().raw(method.upper(), filled_in(path), {} if method != "get" else None)
        assert answer.status_code in ([200] if (method, path) in PUBLIC else [401, 403]), f"{method} {path}"
        assert MARK not in answer.content.decode().replace(filled_in(path), ""), f"{method} {path}"


ASKED = "annotation"
"""What somebody is asked is theirs alone, whoever else may what; see `test_campaigns`."""


@by_area([each for each in READING if each[1].split("/")[3] != ASKED])
def test_the_projects_own_admin_does_find_them(area: list[tuple[str, str]], filled: Project, admin: Api) -> None:
    """Without this, the test above could pass because of a wrong id."""
    for method, path in area:
        # These need the server's secret, bytes on disk, a bus, or nothing of the project's.
        if path.endswith(
            ("/introspect", "/content", "/tasks/dead", "/hello", "/resolve", "/recording", "/peaks", "/{kind}")
        ):
            continue
        answer = admin.raw(method.upper(), filled_in(path))
        if "pipelines/{name}" in path and answer.status_code == 400:
            continue  # its stages are empty on purpose; that it was found is what counts
        assert answer.status_code == 200, f"{path}: {answer.content!r}"
        if path != "/api/v1/me":
            assert MARK in answer.content.decode(), path


def test_every_model_with_a_project_is_in_this_test(filled: Project) -> None:
    owned = [model for model in apps.get_models() if issubclass(model, ProjectOwned)]
    assert len(owned) > 10
    for model in owned:
        assert model._default_manager.filter(project=filled).exists(), model.__name__


def test_every_model_of_ours_is_a_projects() -> None:
    ours = {model for model in apps.get_models() if model.__module__.startswith("openomni.")}
    assert {model.__name__ for model in ours if not issubclass(model, ProjectOwned)} == {
        "User",
        "Project",
        "SignInLink",
        "Tries",
        "DroppedMedia",
    }


# ---- the admin -----------------------------------------------------------------------------------------------


def theirs(model: type[models.Model]) -> models.Model:
    """A row of the project that is filled."""
    whose = {"User": {"username": MARK}, "Project": {"pk": "home"}}.get(model.__name__, {"project_id": "home"})
    return model._default_manager.filter(**whose)[:1].get()


@pytest.mark.parametrize(
    "model", [model for model in django_admin.site._registry if model.__module__.startswith("openomni.")]
)
def test_the_admin_shows_people_their_own_projects_only(
    model: type[models.Model], filled: Project, other_project: Project
) -> None:
    browser = Client()
    browser.force_login(person("other", "owner", other_project))
    name = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    page = browser.get(name)
    assert page.status_code in (200, 403)
    assert MARK not in page.content.decode()
    row = theirs(model)
    assert browser.get(f"{name}{row.pk}/change/").status_code in (302, 403)
    assert browser.post(f"{name}{row.pk}/delete/", {"post": "yes"}).status_code in (302, 403)
    assert model._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    "model", [model for model in django_admin.site._registry if model.__module__.startswith("openomni.")]
)
def test_the_admins_lists_and_forms_open_for_a_superuser(model: type[models.Model], filled: Project) -> None:
    browser = Client()
    browser.force_login(person("root", is_superuser=True))
    name = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    assert MARK in browser.get(name).content.decode()
    assert browser.get(f"{name}?q={MARK}").status_code == 200
    assert browser.get(f"{name}{theirs(model).pk}/change/").status_code == 200


def test_a_member_sees_in_the_admin_what_their_role_lets_them(filled: Project) -> None:
    def statuses(role: str) -> list[int]:
        browser = Client()
        browser.force_login(person(role, role, filled))
        return [
            browser.get(f"/admin/{path}").status_code
            for path in ("places/site/", "places/site/add/", "people/participant/", "accounts/token/")
        ]

    assert statuses("viewer") == [200, 403, 403, 403]
    assert statuses("annotator") == [403, 403, 403, 403]
    assert statuses("researcher") == [200, 200, 200, 403]
    assert statuses("owner") == [200, 200, 200, 200]


def test_the_admin_lists_what_one_may_see_in_each_project_and_not_in_any(
    filled: Project, other_project: Project
) -> None:
    """Who is an owner of one project and annotates in another sees the rows of the first alone."""
    ada = person("ada", "annotator", filled)
    Membership.objects.create(user=ada, project=other_project, role="owner")
    browser = Client()
    browser.force_login(ada)
    for path in ("records/session/", "records/turn/", "accounts/token/", "places/site/"):
        page = browser.get(f"/admin/{path}")
        assert page.status_code == 200
        assert MARK not in page.content.decode(), path


@by_area(READING)
def test_an_annotator_reads_over_rest_nothing_of_what_was_said(area: list[tuple[str, str]], filled: Project) -> None:
    annotator = api_for(filled, Scope.ANNOTATOR)
    open_to_all = {
        "hello", "me", "projects", "sites", "devices", "agents", "components", "pipelines", "metrics", ASKED,
    }  # fmt: skip
    for _, path in area:
        answer = annotator.raw("GET", filled_in(path))
        assert (answer.status_code != 403) == (path.split("/")[3] in open_to_all), f"{path}: {answer.content!r}"


def test_an_annotator_is_shown_the_pages_that_hold_no_conversation(filled: Project) -> None:
    browser = Client()
    browser.force_login(person("ann", "annotator", filled))
    start = browser.get("/")
    assert start.status_code == 200
    assert "Last conversations" not in start.content.decode()
    assert f"/conversations/session{MARK}/" not in start.content.decode()
    statuses = {
        path: browser.get(path).status_code
        for path in ("/pipelines/", "/agents/", "/conversations/", f"/conversations/session{MARK}/", "/talk/")
    }
    assert list(statuses.values()) == [200, 200, 403, 403, 403], statuses


def test_json_of_errors_is_json(stranger: Api) -> None:
    assert json.loads(stranger.raw("GET", "/turns/none").content)["error"]


def test_a_token_of_every_scope_stays_in_its_project(filled: Project, other_project: Project) -> None:
    for scope in Scope.values:
        caller = api_for(other_project, scope)
        assert caller("GET", "/projects")["items"][0]["slug"] == "ward"
        caller.error("GET", "/projects/home", status=404)


# ---- tokens of one site or device ----------------------------------------------------------------------------

WHOLE = ("builds", "hello", "me", "auth", "projects", "agents", "components", "pipelines", "tags",
         "experiments", "metrics")  # fmt: skip
"""What is of no place: everybody in the project may read it, and who is limited to a place may not change it."""

NOTHING = ("datasets", "dataset-drafts", "campaigns")
"""What is of all places together, and of which who is limited to a place gets nothing."""

LIMITS = ("site", "device")


@pytest.fixture
def placed(filled: Project) -> Project:
    """Everything in it is of its site and its device; there is another site, with a device of its own."""
    place = {"site": f"site-{MARK}", "device": f"device-{MARK}"}
    Session.objects.update(**place)
    Token.objects.update(**place)
    kept = Recording.objects.get()
    kept.key = kept.place()
    storage().write(kept.key, 0, MARK.encode())
    kept.save()
    site = Site.objects.create(project=filled, slug="elsewhere", name="Elsewhere")
    Device.objects.create(project=filled, slug="elsewhere", name="Elsewhere", site=site)
    return filled


def rows() -> set[str]:
    return set(everything().splitlines())


@by_area(endpoints())
def test_a_token_of_a_place_or_of_a_device_alone_gets_and_changes_nothing_of_another(
    area: list[tuple[str, str]], placed: Project
) -> None:
    places: list[dict[str, str]] = [{}, *({limit: "elsewhere"} for limit in LIMITS)]
    others = [api_for(placed, Scope.ADMIN if place else Scope.DEVICE, **place) for place in places]
    for other in others:
        other("GET", "/me")  # notes when the token was used
    before = rows()
    for (place, other), (method, path) in itertools.product(zip(places, others, strict=True), area):
        for body in bodies(method, path):
            if body == b"bytes" and "content" not in path and method != "patch":
                continue
            answer = other.raw(method.upper(), filled_in(path), body)
            said = text_of(answer)  # once: what is streamed is gone then
            told = f"{place}: {method} {path}: {answer.status_code} {said[:300]}"
            assert answer.status_code < 500 or answer.status_code == 503, told
            if path.split("/")[3] in WHOLE:
                continue
            assert MARK not in said, told
            if "{" in path:
                assert answer.status_code >= 400, f"found another place's row: {told}"
        assert before <= rows(), f"{place}: {method} {path}"


@pytest.mark.parametrize("limit", LIMITS)
@by_area([each for each in READING if each[1].split("/")[3] not in (*WHOLE, *NOTHING, ASKED)])
def test_a_token_of_the_place_does_find_them(area: list[tuple[str, str]], limit: str, placed: Project) -> None:
    own = api_for(placed, Scope.ADMIN, **{limit: f"{limit}-{MARK}"})
    for _, path in area:
        if path.endswith(("/tasks/dead", "/recording", "/peaks", "/{kind}")):
            continue  # it needs a bus or real sound, and has tests of its own
        answer = own.raw("GET", filled_in(path))
        assert answer.status_code == 200, f"{path}: {answer.content!r}"
        assert MARK in text_of(answer), path


@pytest.mark.parametrize("limit", LIMITS)
@by_area([each for each in endpoints() if each[0] != "get" and each[1].split("/")[3] in (*WHOLE, *NOTHING)])
def test_who_is_limited_to_a_place_changes_nothing_of_the_whole_project(
    area: list[tuple[str, str]], limit: str, placed: Project
) -> None:
    own = api_for(placed, Scope.ADMIN, **{limit: f"{limit}-{MARK}"})
    for method, path in area:
        body = bodies(method, path)[0]
        if "spec" in body:
            body["spec"] = {"name": f"pipeline-{MARK}", "stages": [{"llm": "simulated"}]}
        answer = own.raw(method.upper(), filled_in(path), body)
        if path.endswith("/pipelines/check"):
            assert answer.status_code == 200, "it stores nothing"
        else:
            assert answer.status_code == 403, f"{method} {path}: {answer.content!r}"


def test_a_token_of_a_place_makes_no_token_beyond_it(placed: Project) -> None:
    own = api_for(placed, Scope.ADMIN, site="elsewhere")
    made = own("POST", "/tokens", {"scopes": ["admin"]}, 201)
    assert (made["site"], made["device"]) == ("elsewhere", "")
    own.error("POST", "/tokens", {"scopes": ["viewer"], "site": f"site-{MARK}"}, status=404)
    own.error("POST", "/tokens", {"scopes": ["viewer"], "device": f"device-{MARK}"}, status=404)
    assert {token["site"] for token in own("GET", "/tokens")["items"]} == {"elsewhere"}


def test_a_token_of_a_place_makes_and_moves_things_within_it(placed: Project) -> None:
    own = api_for(placed, Scope.RESEARCHER, site="elsewhere")
    assert own("POST", "/devices", {"slug": "pi", "name": "Pi"}, 201)["site"] == "elsewhere"
    assert own("PATCH", "/devices/pi", {"site": ""})["site"] == "elsewhere"
    own.error("PATCH", "/devices/pi", {"site": f"site-{MARK}"}, status=404)
    line = own.error("POST", "/sites", {"slug": "mine", "name": "Mine"}, status=403)
    assert line == "this token is limited to the site 'elsewhere', and the site would not be of it"
    assert not Site.objects.filter(slug="mine").exists()
    of_device = api_for(placed, Scope.RESEARCHER, device="elsewhere")
    of_device.error("POST", "/devices", {"slug": "another", "name": "x", "site": "elsewhere"}, status=403)
    assert not Device.objects.filter(slug="another").exists()


def test_what_a_device_captures_is_of_the_site_where_it_stands(placed: Project) -> None:
    device = api_for(placed, Scope.DEVICE, device="elsewhere")
    device("POST", "/sessions", {"session_id": "s", "pipeline": "local"})
    device("PUT", "/recordings/r", {"session_id": "s"})
    record = SessionRecord(
        project="home", version=1, session_id="live", pipeline="local", pipeline_hash="", spec={}, device="elsewhere"
    )
    writing.write_all([record])
    of_site = api_for(placed, Scope.VIEWER, site="elsewhere")
    assert {each["session_id"] for each in of_site("GET", "/sessions")["items"]} == {"s", "live"}
    assert [each["recording_id"] for each in of_site("GET", "/recordings")["items"]] == ["r"]


def test_a_device_without_a_place_has_what_was_made_with_its_token(placed: Project) -> None:
    mine, another = api_for(placed, Scope.DEVICE), api_for(placed, Scope.DEVICE)
    key = mine("GET", "/me")["token_id"]
    mine("POST", "/sessions", {"session_id": "s", "pipeline": "local"})
    mine("PUT", "/recordings/r", {"session_id": "s"})
    mine("PATCH", "/recordings/r?offset=0", b"RIFF")
    live = SessionRecord(
        project="home", version=1, session_id="live", pipeline="local", pipeline_hash="", spec={}, made_by=key
    )
    turn = TurnRecord(
        project="home", turn_id="t", session_id="live", index=0, pipeline="local", pipeline_hash="", transcript="mine"
    )
    writing.write_all([live, turn])
    api_for(placed, Scope.AGENT)("PUT", "/recordings/reply", {"kind": "reply", "session_id": "live"})
    assert {each["session_id"] for each in mine("GET", "/sessions")["items"]} == {"s", "live"}
    assert {each["recording_id"] for each in mine("GET", "/recordings")["items"]} == {"r", "reply"}
    assert mine("GET", "/turns/t")["transcript"] == "mine"
    for kind in ("sessions", "turns", "tasks", "recordings"):
        assert another("GET", f"/{kind}")["items"] == []
    another.error("PATCH", "/recordings/r?offset=4", b"more", status=404)
    line = another.error("PUT", "/recordings/r", {"kind": "audio"}, status=403)
    assert "another's" in line
    assert "token of the device" in line
    another.error("POST", "/sessions", {"session_id": "live", "pipeline": "local"}, status=409)
    line = mine.error("PUT", "/recordings/reply", {"kind": "reply"}, status=403)
    assert "another's" in line, "the agent's reply is for the device to hear, not to write"


def test_who_reads_the_project_sees_what_every_token_made(placed: Project) -> None:
    api_for(placed, Scope.DEVICE)("PUT", "/recordings/r", {})
    for scopes in (["viewer"], ["agent"], ["researcher"], ["device", "viewer"]):
        assert "r" in {each["recording_id"] for each in api_for(placed, *scopes)("GET", "/recordings")["items"]}


def test_a_recording_of_the_gateway_is_of_the_token_that_it_records_for(placed: Project, gateway: Api) -> None:
    device, another = api_for(placed, Scope.DEVICE), api_for(placed, Scope.DEVICE)
    told = {"made_by": device("GET", "/me")["token_id"], "session_id": "live"}
    gateway("PUT", "/recordings/by-gateway", told, OpenOmni_Project="home")
    assert [each["recording_id"] for each in device("GET", "/recordings")["items"]] == ["by-gateway"]
    another("PUT", "/recordings/by-another", {"made_by": told["made_by"]})
    assert [each["recording_id"] for each in device("GET", "/recordings")["items"]] == ["by-gateway"]


def test_a_recording_is_put_into_no_session_of_another_place(placed: Project) -> None:
    other = api_for(placed, Scope.DEVICE, device="elsewhere")
    line = other.error("PUT", "/recordings/mine", {"session_id": f"session{MARK}"}, status=409)
    assert "make a new one" in line
    assert not Recording.objects.filter(pk="mine").exists()
