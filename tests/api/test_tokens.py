"""Tokens: what each lets in, and what a caller with a wrong one is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.utils import timezone

from api.support import Api, api_for, person
from openomni.api.accounts.admin import TokensAdmin
from openomni.api.accounts.models import Project, Scope, Token, expand
from openomni.api.places.models import Device, Site


def test_a_token_is_shown_once_and_kept_as_a_hash(project: Project) -> None:
    token, text = Token.issue(project, [Scope.DEVICE])
    mark, key, secret = text.split("_", 2)
    assert (mark, key) == ("oo", token.pk)
    assert len(key) == 8
    assert secret not in str(Token.objects.filter(pk=token.pk).values())
    assert Token.objects.get(pk=token.pk).matches(secret)


def test_its_holder_acts_in_its_project(project: Project) -> None:
    caller = api_for(project, Scope.DEVICE, site="lab")("GET", "/me")
    assert caller == {
        "project": "home", "scopes": ["device"], "site": "lab", "device": "", "user": None,
        "token_id": caller["token_id"],
    }  # fmt: skip


def test_admin_may_all_and_researchers_what_annotators_may_and_what_viewers_may() -> None:
    assert expand(["admin"]) == set(Scope.values)
    assert expand(["researcher"]) == {"researcher", "annotator", "viewer"}
    assert expand(["annotator", "device"]) == {"annotator", "device"}
    assert expand(["agent"]) == {"agent"}


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("", "needs a token"),
        ("Basic b3dl", "Authorization: Bearer"),
        ("Bearer sk-something", "start with oo_"),
        ("Bearer oo_12345678_wrong", "unknown to this server"),
        ("Bearer oo_", "start with oo_"),
    ],
)
def test_what_is_no_token_is_refused_with_the_mend(db: None, header: str, says: str) -> None:
    line = Api(headers={"Authorization": header} if header else {}).error("GET", "/me", status=401)
    assert says in line


def test_a_wrong_secret_is_refused(project: Project) -> None:
    token, _ = Token.issue(project, [Scope.ADMIN])
    assert "unknown" in Api(f"oo_{token.pk}_guess").error("GET", "/me", status=401)


def test_an_expired_and_a_revoked_token_say_so(project: Project) -> None:
    expired = api_for(project, expires_at=timezone.now() - timedelta(seconds=1))
    assert "expired on" in expired.error("GET", "/me", status=401)
    assert "token create" in expired.error("GET", "/me", status=401)
    revoked = api_for(project, revoked_at=timezone.now())
    assert "was revoked on" in revoked.error("GET", "/me", status=401)


def test_too_small_a_scope_is_told_which_is_needed(project: Project) -> None:
    line = api_for(project, Scope.DEVICE).error("POST", "/sites", {"slug": "a", "name": "A"}, status=403)
    assert "researcher" in line
    assert "device" in line


def test_when_it_was_last_used_is_noted_without_a_write_for_each_request(
    project: Project, django_assert_num_queries: object
) -> None:
    token, text = Token.issue(project, [Scope.VIEWER])
    Api(text)("GET", "/me")
    first = Token.objects.get(pk=token.pk).last_used_at
    assert first is not None
    with django_assert_num_queries(1):  # type: ignore[operator]
        Api(text)("GET", "/me")
    assert Token.objects.get(pk=token.pk).last_used_at == first


def test_admins_make_list_and_revoke_tokens(project: Project, admin: Api) -> None:
    Site.objects.create(project=project, slug="lab", name="Lab")
    made = admin(
        "POST", "/tokens", {"name": "kitchen", "scopes": ["device"], "site": "lab", "expires_in_days": 30}, 201
    )
    assert Api(made["token"])("GET", "/me")["site"] == "lab"
    listed = {token["id"]: token for token in admin("GET", "/tokens")["items"]}
    assert listed[made["id"]]["name"] == "kitchen"
    assert "token" not in listed[made["id"]]
    admin("DELETE", f"/tokens/{made['id']}", expect=204)
    assert "revoked" in Api(made["token"]).error("GET", "/me", status=401)


def test_a_token_for_what_does_not_exist_is_refused_with_the_nearest(project: Project, admin: Api) -> None:
    Site.objects.create(project=project, slug="kitchen", name="Kitchen")
    assert "did you mean 'researcher'?" in admin.error("POST", "/tokens", {"scopes": ["reseacher"]}, status=422)
    line = admin.error("POST", "/tokens", {"scopes": ["device"], "site": "kitchn"}, status=404)
    assert "did you mean 'kitchen'?" in line


def test_only_admins_see_tokens(project: Project) -> None:
    for scope in (Scope.DEVICE, Scope.AGENT, Scope.VIEWER, Scope.ANNOTATOR, Scope.RESEARCHER):
        api_for(project, scope).error("GET", "/tokens", status=403)


# ---- the gateway asks ----------------------------------------------------------------------------------------


def test_the_gateway_learns_what_a_token_lets_its_holder_do(project: Project, gateway: Api) -> None:
    until = timezone.now() + timedelta(days=1)
    token, text = Token.issue(project, [Scope.RESEARCHER], site="lab", expires_at=until)
    answer = gateway("POST", "/auth/introspect", {"token": text})
    assert answer["token_id"] == token.pk
    assert answer["project"] == "home"
    assert answer["scopes"] == ["annotator", "researcher", "viewer"]
    assert (answer["site"], answer["device"]) == ("lab", "")
    assert answer["expires_at"].startswith(f"{until:%Y-%m-%dT%H:%M}")


def test_the_gateway_learns_who_made_a_token_for_themself(project: Project, gateway: Api) -> None:
    """By it somebody takes their own session up again; a token that was made for a device stands for nobody."""
    ada = person("ada", "researcher", project)

    def whose(**fields: Any) -> str:
        text = Token.issue(project, [Scope.DEVICE], **fields)[1]
        return str(gateway("POST", "/auth/introspect", {"token": text})["person"])

    assert whose(created_by=ada, own=True) == whose(created_by=ada, own=True) == str(ada.pk)
    assert whose(created_by=ada) == whose(own=True) == ""


def test_the_gateway_learns_where_a_tokens_device_stands(project: Project, gateway: Api) -> None:
    ward = Site.objects.create(project=project, slug="ward-3", name="Ward 3")
    Device.objects.create(project=project, slug="mic", name="Mic", site=ward)
    text = Token.issue(project, [Scope.DEVICE], device="mic")[1]
    answer = gateway("POST", "/auth/introspect", {"token": text})
    assert (answer["site"], answer["device"]) == ("ward-3", "mic")


def test_a_token_that_lets_nobody_in_is_not_found(project: Project, gateway: Api) -> None:
    assert "unknown" in gateway.error("POST", "/auth/introspect", {"token": "oo_00000000_x"}, status=404)
    expired = api_for(project, expires_at=timezone.now()).token
    assert "expired" in gateway.error("POST", "/auth/introspect", {"token": expired}, status=404)


def test_nobody_but_the_server_looks_tokens_up(project: Project, admin: Api, gateway: Api) -> None:
    payload = {"token": admin.token}
    assert "OPENOMNI_SERVER_SECRET" in Api("another-secret").error("POST", "/auth/introspect", payload, status=403)
    admin.error("POST", "/auth/introspect", payload, status=403)
    Api().error("POST", "/auth/introspect", payload, status=403)
    gateway.error("POST", "/auth/introspect", {"token": gateway.token}, status=404)
    gateway.error("GET", "/tokens", status=403)


def test_the_admins_list_says_how_each_token_stands(project: Project) -> None:
    later, earlier = (timezone.now() + timedelta(hours=hours) for hours in (1, -1))
    fields = {"valid": {}, "expires": {"expires_at": later}, "expired": {"expires_at": earlier},
              "revoked": {"revoked_at": earlier}}  # fmt: skip
    for name, more in fields.items():
        api_for(project, Scope.VIEWER, name=name, **more)
    shown = TokensAdmin(Token, django_admin.site)
    states = {token.name: shown.state(token) for token in Token.objects.all()}
    assert states == {"valid": "valid", "expires": "valid", "expired": "expired", "revoked": "revoked"}
