"""The admin: its lists cost the same number of queries however many rows there are, and what it does is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from api.support import Api, agent_with, person
from openomni.api.accounts.models import Membership, Project, Token, User
from openomni.api.people.models import Consent, Participant
from openomni.api.pipelines.models import Pipeline, version_of
from openomni.api.places.models import Device, Site


def make_device(project: Project, number: int) -> None:
    site = Site.objects.create(project=project, slug=f"site-{number}", name="Site")
    Device.objects.create(project=project, slug=f"d{number}", name="Device", site=site)


def make_participant(project: Project, number: int) -> None:
    participant = Participant.objects.create(project=project, code=f"P{number}")
    Consent.objects.create(project=project, participant=participant, purpose="recording")


def make_pipeline(project: Project, number: int) -> None:
    version = version_of(project.pk, f"pipeline-{number}", "0" * 16, {"stages": []})
    Pipeline.objects.filter(pk=version.pipeline_id).update(current=version)


LISTS: dict[str, Callable[[Project, int], object]] = {
    "/admin/places/site/": make_device,
    "/admin/places/device/": make_device,
    "/admin/people/participant/": make_participant,
    "/admin/fleet/agent/": lambda project, number: agent_with(project, "llm:a", "tts:b"),
    "/admin/pipelines/pipeline/": make_pipeline,
    "/admin/pipelines/pipelineversion/": make_pipeline,
    "/admin/accounts/token/": lambda project, number: Token.issue(project, ["device"]),
    "/api/v1/sites": make_device,
    "/api/v1/devices": make_device,
    "/api/v1/participants": make_participant,
    "/api/v1/agents": lambda project, number: agent_with(project, "llm:a", "tts:b"),
    "/api/v1/components": lambda project, number: agent_with(project, f"llm:a{number}"),
    "/api/v1/pipelines": make_pipeline,
    "/api/v1/tokens": lambda project, number: Token.issue(project, ["device"]),
}


@pytest.mark.parametrize("path", LISTS)
def test_a_list_costs_as_many_queries_for_many_rows_as_for_one(path: str, project: Project) -> None:
    browser = Client()
    browser.force_login(person("owner", "owner", project))

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert browser.get(path).status_code == 200
        return len(captured)

    LISTS[path](project, 0)
    queries()
    few = queries()
    for number in range(1, 6):
        LISTS[path](project, number)
    assert queries() == few


def test_a_token_made_in_the_admin_is_shown_once(project: Project) -> None:
    browser = Client()
    browser.force_login(person("owner", "owner", project))
    form = {"project": project.pk, "name": "kitchen", "scopes": ["device"], "site": "", "device": ""}
    form |= {"expires_at_0": "", "expires_at_1": ""}
    page = browser.post("/admin/accounts/token/add/", form, follow=True).content.decode()
    text = "oo_" + page.split("this once: oo_")[1].split("<")[0].strip()
    assert Api(text)("GET", "/me")["scopes"] == ["device"]
    assert "this once" not in browser.get("/admin/accounts/token/").content.decode()
    token = Token.objects.get()
    action = {"action": "revoke", "_selected_action": [token.pk]}
    browser.post("/admin/accounts/token/", action)
    assert "revoked" in Api(text).error("GET", "/me", status=401)


def test_an_owner_adds_people_to_their_project_and_to_no_other(project: Project, other_project: Project) -> None:
    browser, bob = Client(), person("bob")
    browser.force_login(person("owner", "owner", project))

    def form(target: Project) -> dict[str, Any]:
        existing = list(Membership.objects.filter(project=target))
        fields: dict[str, Any] = {"name": target.name, "membership_set-TOTAL_FORMS": len(existing) + 1}
        fields |= {"membership_set-INITIAL_FORMS": len(existing)}
        for place, membership in enumerate(existing):
            fields |= {
                f"membership_set-{place}-id": membership.pk,
                f"membership_set-{place}-user": membership.user_id,
                f"membership_set-{place}-project": target.pk,
                f"membership_set-{place}-role": membership.role,
            }
        new = f"membership_set-{len(existing)}"
        return fields | {f"{new}-user": bob.pk, f"{new}-role": "annotator", f"{new}-project": target.pk}

    browser.post(f"/admin/accounts/project/{project.pk}/change/", form(project))
    assert Membership.objects.get(user=bob).project == project
    browser.post(f"/admin/accounts/project/{other_project.pk}/change/", form(other_project))
    assert not Membership.objects.filter(project=other_project).exists()


def test_the_list_of_users_shows_owners_the_names_of_their_own_projects_people(
    project: Project, other_project: Project
) -> None:
    """And not those of a project that one of them, or the owner as a viewer, belongs to as well."""
    browser, owner = Client(), person("owner", "owner", project)
    browser.force_login(owner)
    mine = person("mine-and-theirs", "viewer", project, email="mine@secret.example")
    for user, role in ((mine, "owner"), (owner, "viewer")):
        Membership.objects.create(user=user, project=other_project, role=role)
    person("theirs", "researcher", other_project, first_name="Zebra")
    person("nobodys")

    def shown(query: str = "") -> str:
        page = browser.get(f"/admin/accounts/user/{query}", follow=True)
        assert page.status_code in (200, 400)
        return page.content.decode()

    def found(term: str) -> list[str]:
        query = f"app_label=accounts&model_name=membership&field_name=user&term={term}"
        return [each["text"] for each in browser.get(f"/admin/autocomplete/?{query}").json()["results"]]

    assert "mine-and-theirs" in shown()
    for word in (">theirs<", "nobodys", "Zebra", "secret.example", str(other_project.pk)):
        assert word not in shown(), word
    assert "mine-and-theirs" not in shown("?q=secret.example")
    for query in ("?email__startswith=mine", "?membership__project=ward", "?is_superuser__exact=0"):
        assert ">mine-and-theirs<" not in shown(query), query
    assert sorted(found("")) == ["mine-and-theirs", "owner"]
    assert (found("theirs"), found("nobody"), found("nobodys")) == (["mine-and-theirs", "theirs"], [], ["nobodys"])
    owner.is_superuser = True
    owner.save()
    assert "Zebra" not in shown("?q=mine")
    assert "secret.example" in shown("?email__startswith=mine")


def test_nobody_makes_themselves_a_superuser(project: Project) -> None:
    owner = person("owner", "owner", project)
    browser = Client()
    browser.force_login(owner)
    form = {"username": "owner", "is_superuser": "on", "is_staff": "on", "is_active": "on"}
    assert browser.post(f"/admin/accounts/user/{owner.pk}/change/", form).status_code in (302, 403)
    assert browser.post("/admin/accounts/user/add/", form).status_code in (302, 403)
    assert not User.objects.get(pk=owner.pk).is_superuser


def test_a_form_offers_nothing_of_another_project(project: Project, other_project: Project) -> None:
    theirs = Site.objects.create(project=other_project, slug="secret", name="Secret place")
    browser = Client()
    browser.force_login(person("ada", "researcher", project))
    assert "Secret place" not in browser.get("/admin/places/device/add/").content.decode()
    form = {"project": project.pk, "slug": "d", "name": "D", "site": theirs.pk, "notes": ""}
    browser.post("/admin/places/device/add/", form)
    form |= {"project": other_project.pk, "site": ""}
    browser.post("/admin/places/device/add/", form)
    assert not Device.objects.exists()


def test_what_belongs_together_is_of_one_project(project: Project, other_project: Project) -> None:
    """Somebody of two projects can't tie a device of one to a site of the other."""
    ada = person("ada", "researcher", project)
    Membership.objects.create(user=ada, project=other_project, role="researcher")
    site = Site.objects.create(project=other_project, slug="ward-3", name="Ward 3")
    browser = Client()
    browser.force_login(ada)
    form = {"project": project.pk, "slug": "d", "name": "D", "site": site.pk, "notes": ""}
    page = browser.post("/admin/places/device/add/", form)
    assert "another project" in page.content.decode()
    assert not Device.objects.exists()


def test_a_researcher_of_one_project_who_views_another_only_reads_there(
    project: Project, other_project: Project
) -> None:
    ada = person("ada", "researcher", project)
    Membership.objects.create(user=ada, project=other_project, role="viewer")
    browser = Client()
    browser.force_login(ada)
    form = {"project": other_project.pk, "slug": "new", "name": "New", "notes": ""}
    browser.post("/admin/places/site/add/", form)
    assert not Site.objects.exists()
    browser.post("/admin/places/site/add/", form | {"project": project.pk})
    assert Site.objects.get().project == project


def test_consent_given_in_the_admin_is_of_the_participants_project(project: Project) -> None:
    participant = Participant.objects.create(project=project, code="P1")
    browser = Client()
    browser.force_login(person("ada", "researcher", project))
    form = {
        "code": "P1", "name": "", "notes": "", "site": "", "consents-TOTAL_FORMS": 1, "consents-INITIAL_FORMS": 0,
        "consents-0-participant": participant.pk, "consents-0-purpose": "recording", "consents-0-evidence": "form",
        "consents-0-given_at_0": "2026-01-01", "consents-0-given_at_1": "10:00:00",
    }  # fmt: skip
    browser.post(f"/admin/people/participant/{participant.pk}/change/", form)
    assert Consent.objects.get().project == project
