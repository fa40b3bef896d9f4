"""Who is shown the talk page, and who is given a token to talk with."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from api.support import person
from openomni.api.accounts.authentication import of_text
from openomni.api.accounts.models import Project, Role, Scope, Token, User


def signed_in(user: User, **options: bool) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


def test_a_researcher_gets_a_token_of_their_own_for_the_device_alone(project: Project) -> None:
    user = person("ada", Role.RESEARCHER, project)
    answer = signed_in(user).post("/talk/token/")
    assert answer.status_code == 201
    caller = of_text(answer.json()["token"])
    assert caller.project_id == project.slug
    assert caller.scopes == {Scope.DEVICE}
    token = Token.objects.get()
    assert token.created_by == user
    assert token.own
    assert "ada" in token.name
    assert token.expires_at is not None
    assert timezone.now() < token.expires_at < timezone.now() + timedelta(days=1)


@pytest.mark.parametrize(
    ("role", "says"), [(Role.VIEWER, "your role here only reads"), (Role.ANNOTATOR, "your role is annotator")]
)
def test_who_only_reads_or_annotates_is_told_so_and_gets_none(project: Project, role: str, says: str) -> None:
    client = signed_in(person("eva", role, project))
    assert says in client.get("/talk/").content.decode()
    assert client.post("/talk/token/").status_code == 403
    assert not Token.objects.exists()


def test_another_sites_page_gets_none(project: Project) -> None:
    client = signed_in(person("ada", Role.RESEARCHER, project), enforce_csrf_checks=True)
    assert client.post("/talk/token/", headers={"origin": "https://elsewhere.example"}).status_code == 403
    assert not Token.objects.exists()


def test_a_project_that_is_not_theirs_gets_none(project: Project, other_project: Project) -> None:
    client = signed_in(person("ada", Role.RESEARCHER, project))
    assert client.post(f"/talk/token/?project={other_project.slug}").status_code == 403
    assert not Token.objects.exists()


def test_tokens_that_expired_long_ago_go_and_those_in_use_stay(project: Project) -> None:
    client = signed_in(person("ada", Role.RESEARCHER, project))
    for _ in range(3):
        client.post("/talk/token/")
    old, lately, _ = Token.objects.order_by("created_at")
    Token.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(days=2))
    Token.objects.filter(pk=lately.pk).update(expires_at=timezone.now() - timedelta(hours=2))
    client.post("/talk/token/")
    assert not Token.objects.filter(pk=old.pk).exists()
    assert Token.objects.filter(pk=lately.pk).exists()
    assert Token.objects.count() == 3


def test_a_pipeline_that_can_not_run_says_what_is_missing(project: Project) -> None:
    client = signed_in(person("ada", Role.RESEARCHER, project))
    (local,) = [each for each in client.get("/talk/pipelines/").json()["items"] if each["name"] == "local"]
    assert "stt:faster-whisper" in local["missing"]
    assert "host" in local["missing"]
    assert not local["sees"]
    assert "stt:faster-whisper" in client.get("/talk/").content.decode()


def test_a_stranger_is_sent_to_sign_in(db: None) -> None:
    for answer in (Client().get("/talk/"), Client().post("/talk/token/"), Client().get("/talk/pipelines/")):
        assert answer.status_code == 302
        assert "login" in answer["Location"]
