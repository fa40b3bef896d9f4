"""Sites, devices, participants and their consent, over REST."""

from __future__ import annotations

from typing import Any

import pytest

from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope


def test_sites_and_devices_are_made_read_and_changed(admin: Api) -> None:
    admin("POST", "/sites", {"slug": "lab", "name": "Lab"}, 201)
    device = admin("POST", "/devices", {"slug": "pi-1", "name": "Pi", "site": "lab"}, 201)
    assert device["site"] == "lab"
    assert admin("PATCH", "/devices/pi-1", {"name": "Kitchen Pi"})["name"] == "Kitchen Pi"
    assert admin("PATCH", "/devices/pi-1", {"site": ""})["site"] == ""
    assert admin("GET", "/devices/pi-1")["name"] == "Kitchen Pi"
    assert admin("PATCH", "/sites/lab", {"notes": "north"})["notes"] == "north"
    assert [site["slug"] for site in admin("GET", "/sites")["items"]] == ["lab"]
    assert admin("GET", "/devices?site=lab")["items"] == []


def test_a_slug_is_taken_once_in_a_project(admin: Api, stranger: Api) -> None:
    body = {"slug": "lab", "name": "Lab"}
    admin("POST", "/sites", body, 201)
    assert "already" in admin.error("POST", "/sites", body, status=409)
    stranger("POST", "/sites", body, 201)


def test_an_unknown_name_gets_the_nearest_of_ones_own(admin: Api, stranger: Api) -> None:
    admin("POST", "/sites", {"slug": "kitchen", "name": "Kitchen"}, 201)
    assert "did you mean 'kitchen'?" in admin.error("GET", "/sites/kitchn", status=404)
    assert "kitchen'" not in stranger.error("GET", "/sites/kitchn", status=404)
    line = admin.error("POST", "/devices", {"slug": "a", "name": "A", "site": "kitchn"}, status=404)
    assert "did you mean 'kitchen'?" in line


def test_lists_are_paged_by_cursor_and_miss_nothing_that_was_there(admin: Api) -> None:
    for number in range(7):
        admin("POST", "/sites", {"slug": f"s{number}", "name": "Site"}, 201)
    first = admin("GET", "/sites?limit=3")
    admin("POST", "/sites", {"slug": "s0b", "name": "came between"}, 201)
    second = admin("GET", f"/sites?limit=3&cursor={first['next']}")
    third = admin("GET", f"/sites?limit=3&cursor={second['next']}")
    slugs = [site["slug"] for part in (first, second, third) for site in part["items"]]
    assert slugs == [f"s{number}" for number in range(7)]
    assert third["next"] is None


def test_consent_is_given_for_a_purpose_and_withdrawn_but_not_forgotten(admin: Api) -> None:
    admin("POST", "/participants", {"code": "P1"}, 201)
    given = admin("POST", "/participants/P1/consents", {"purpose": "recording", "evidence": "form 12"}, 201)
    assert given["consents"][0]["withdrawn_at"] is None
    again = {"purpose": "recording"}
    assert "agreed to being recorded already" in admin.error("POST", "/participants/P1/consents", again, status=409)
    withdrawn = admin("DELETE", "/participants/P1/consents/recording")
    assert withdrawn["consents"][0]["withdrawn_at"] is not None
    assert withdrawn["consents"][0]["evidence"] == "form 12"
    admin.error("DELETE", "/participants/P1/consents/recording", status=404)
    admin("POST", "/participants/P1/consents", again, 201)


def test_researchers_alone_read_who_the_participants_are(project: Project) -> None:
    for scope in (Scope.DEVICE, Scope.AGENT, Scope.VIEWER, Scope.ANNOTATOR):
        api_for(project, scope).error("GET", "/participants", status=403)
    assert api_for(project, Scope.RESEARCHER)("GET", "/participants")["items"] == []


@pytest.mark.parametrize(
    "when", [0, "0", 1_700_000_000, "2026-01-31", "2026-01-31T10:00:00", "1970-01-01T00:00:00Z", None]
)
def test_when_a_consent_was_given_is_told_beyond_doubt(admin: Api, when: Any) -> None:
    admin("POST", "/participants", {"code": "P1"}, 201)
    body = {"purpose": "recording", "given_at": when}
    assert "given_at: " in admin.error("POST", "/participants/P1/consents", body, status=422)
    given = admin("POST", "/participants/P1/consents", {**body, "given_at": "2026-01-31T10:00:00+01:00"}, 201)
    assert given["consents"][0]["given_at"] == "2026-01-31T09:00:00Z"
