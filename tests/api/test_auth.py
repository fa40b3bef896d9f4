"""People: signing in, the first start, roles, and what cookies may and may not do."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from api.support import Api, person
from openomni.api import bootstrap
from openomni.api.accounts.models import Project, SignInLink, Token, User
from openomni.api.ground import handshake


def test_the_first_start_makes_an_owner_a_project_and_a_token_but_no_password(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "setup", lambda data_dir=None: None)
    first = bootstrap.first_start()
    assert first is not None
    owner = User.objects.get()
    assert owner.is_superuser
    assert not owner.has_usable_password()
    assert Api(first.token)("GET", "/me")["project"] == "default"
    browser = Client()
    assert browser.get(first.sign_in_path).headers["Location"] == "/password/"
    assert browser.session["_auth_user_id"] == str(owner.pk)
    assert Api(first.agent_token)("GET", "/me")["scopes"] == ["agent"]
    assert bootstrap.first_start() is None
    assert Token.objects.count() == 2


def test_a_sign_in_link_works_once(db: None) -> None:
    path = SignInLink.path_for(person("ada"))
    assert Client().head(path).status_code == 410
    assert Client().get(path).status_code == 302
    again = Client().get(path)
    assert again.status_code == 410
    assert b"openomni api sign-in" in again.content


def test_a_sign_in_link_expires_and_can_not_be_made_up(db: None) -> None:
    ada = person("ada")
    path = SignInLink.path_for(ada)
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Client().get(path).status_code == 410
    assert Client().get("/sign-in/MQ:1xVK8c:forged/").status_code == 410
    path = SignInLink.path_for(ada)
    User.objects.update(is_active=False)
    assert Client().get(path).status_code == 410


def test_who_comes_by_a_link_chooses_a_password_and_signs_in_with_it(db: None) -> None:
    user = User(username="ada", is_staff=True)
    user.set_unusable_password()
    user.save()
    browser = Client(enforce_csrf_checks=True)
    browser.get(SignInLink.path_for(user))
    page = browser.get("/password/").content.decode()
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found
    fields = {"new_password1": "a long one indeed", "new_password2": "a long one indeed"}
    assert browser.post("/password/", fields).status_code == 403
    answer = browser.post("/password/", {**fields, "csrfmiddlewaretoken": found[1]})
    assert answer.headers["Location"] == "/"
    assert Client().login(username="ada", password="a long one indeed")
    assert browser.get("/password/").headers["Location"] == "/admin/password_change/"


def test_cookies_are_kept_from_scripts_and_other_sites(db: None) -> None:
    browser = Client()
    browser.get(SignInLink.path_for(person("ada")))
    cookie = browser.cookies["openomni_session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


# ---- a signed-in person over REST ----------------------------------------------------------------------------


def signed_in(user: User, **options: Any) -> Client:
    browser = Client(**options)
    browser.force_login(user)
    return browser


def test_a_person_acts_in_the_projects_they_belong_to(project: Project, other_project: Project) -> None:
    ada = signed_in(person("ada", "researcher", project))
    assert ada.get("/api/v1/me").json()["scopes"] == ["annotator", "researcher", "viewer"]
    assert [each["slug"] for each in ada.get("/api/v1/projects").json()["items"]] == ["home"]
    refused = ada.get("/api/v1/me?project=ward")
    assert refused.status_code == 404
    assert "'ward'" in refused.json()["error"]


def test_a_person_of_several_projects_says_which(project: Project, other_project: Project) -> None:
    root = signed_in(person("root", is_superuser=True))
    assert root.get("/api/v1/me").json()["project"] == "home"
    assert root.get("/api/v1/me", headers={"OpenOmni-Project": "ward"}).json()["project"] == "ward"


@pytest.mark.parametrize(("role", "status"), [("owner", 201), ("researcher", 201), ("annotator", 403), ("viewer", 403)])
def test_a_role_lets_one_do_what_it_says(project: Project, role: str, status: int) -> None:
    body = {"slug": "lab", "name": "Lab"}
    answer = signed_in(person("ada", role, project)).post("/api/v1/sites", body, content_type="application/json")
    assert answer.status_code == status


def test_somebody_without_a_project_is_told_to_ask(db: None) -> None:
    answer = signed_in(person("ada")).get("/api/v1/me")
    assert answer.status_code == 403
    assert "ask an owner" in answer.json()["error"]


def test_another_site_can_not_use_the_cookie(project: Project) -> None:
    browser = signed_in(person("ada", "owner", project), enforce_csrf_checks=True)
    answer = browser.post("/api/v1/sites", {"slug": "lab", "name": "Lab"}, content_type="application/json")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["error"]


def test_only_a_superuser_makes_projects_over_rest(project: Project, admin: Api) -> None:
    body = {"slug": "new", "name": "New"}
    assert "openomni api project create" in admin.error("POST", "/projects", body, status=403)
    root = signed_in(person("root", is_superuser=True))
    assert root.post("/api/v1/projects", body, content_type="application/json").status_code == 201
    assert root.post("/api/v1/projects", body, content_type="application/json").status_code == 409
    odd = root.post("/api/v1/projects", {"slug": "No Good", "name": "x"}, content_type="application/json")
    assert odd.status_code == 422
    assert "small letters" in odd.json()["error"]


# ---- versions and errors -------------------------------------------------------------------------------------


def test_hello_says_the_version_to_anyone(db: None) -> None:
    answer = Api().raw("GET", "/hello")
    assert answer.status_code == 200
    assert answer.headers["OpenOmni-Version"]


@pytest.mark.parametrize("path", ["/hello", "/me", "/sites"])
def test_a_client_that_is_too_old_is_told_how_to_upgrade(db: None, path: str) -> None:
    line = Api().error("GET", path, status=426, OpenOmni_Version="0.0.9")
    assert "./setup in its checkout" in line


def test_versions_compare_by_number() -> None:
    assert not handshake.too_old(handshake.MIN_CLIENT)
    assert handshake.too_old("0.0.99")
    assert not handshake.too_old("0.10.0")
    assert not handshake.too_old("1.0.0rc1")


def test_mistakes_are_one_line_of_json(admin: Api) -> None:
    assert "/api/v1/docs" in admin.error("GET", "/nowhere", status=404)
    assert "slug: " in admin.error("POST", "/sites", {"slug": "A b", "name": "x"}, status=422)
    assert admin.raw("POST", "/sites", b"{").status_code in (400, 422)
    assert "cursor" in admin.error("GET", "/sites?cursor=rubbish", status=400)
    assert "limit" in admin.error("GET", "/sites?limit=0", status=422)
