"""Pipelines: stored by content, checked against what agents registered, resolved against who is alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.support import Api, agent_with, api_for, registration
from openomni.api.accounts.models import Project, Scope
from openomni.api.fleet.models import Offer
from openomni.api.pipelines.models import Pipeline, PipelineVersion, version_of

YAML = """\
name: {name}
description: {description}
stages:
  - stt: simulated
  - llm: {llm}
  - tts: simulated
"""


def yaml(name: str = "mine", llm: str = "simulated", description: str = "a test") -> dict[str, str]:
    return {"yaml": YAML.format(name=name, llm=llm, description=description)}


def test_every_project_has_the_built_in_ones(admin: Api, stranger: Api) -> None:
    for api in (admin, stranger):
        found = {each["name"]: each for each in api("GET", "/pipelines")["items"]}
        assert found["local"]["builtin"]
        assert found["local"]["version"] is None
        assert found["local"]["spec"]["stages"]
    assert admin("GET", "/pipelines/local")["hash"] == found["local"]["hash"]


def test_content_makes_a_version_and_the_same_content_none(admin: Api) -> None:
    first = admin("PUT", "/pipelines/mine", yaml())
    assert (first["version"], first["builtin"], first["yaml"]) == (1, False, yaml()["yaml"])
    again = admin("PUT", "/pipelines/mine", yaml(description="other words, same content"))
    assert (again["version"], again["hash"]) == (1, first["hash"])
    assert Pipeline.objects.get().description == "other words, same content"


def test_the_pipeline_of_the_tutorial_can_be_put_as_it_says(admin: Api) -> None:
    page = Path("docs/tutorials/first-pipeline.md").read_text(encoding="utf-8")
    text = page.partition("```yaml\n")[2].partition("```")[0]
    assert "$OPENOMNI_SERVER/api/v1/pipelines/brief" in page
    stored = admin("PUT", "/pipelines/brief", {"yaml": text})
    assert (stored["name"], stored["version"], stored["yaml"]) == ("brief", 1, text)
    wrong = admin.error("PUT", "/pipelines/brief", {"yaml": text.replace("max_tokens", "max_token")}, status=422)
    assert wrong.endswith("unknown parameter 'max_token'; did you mean 'max_tokens'?")


def test_older_content_comes_back_as_the_version_that_it_was(admin: Api) -> None:
    first = admin("PUT", "/pipelines/mine", yaml())
    spec = {**first["spec"], "turn_taking": {"end_of_turn_silence": 0.7}}
    second = admin("PUT", "/pipelines/mine", {"spec": spec})
    assert (second["version"], second["hash"] != first["hash"]) == (2, True)
    assert admin("PUT", "/pipelines/mine", yaml())["version"] == 1
    assert admin("GET", "/pipelines/mine")["hash"] == first["hash"]
    versions = admin("GET", "/pipelines/mine/versions")["items"]
    assert [version["version"] for version in versions] == [2, 1]
    assert admin("GET", "/pipelines/mine/versions/2")["hash"] == second["hash"]
    assert admin("GET", f"/pipelines/mine/versions/{first['hash']}")["version"] == 1
    admin.error("GET", "/pipelines/mine/versions/9", status=404)


def test_what_ran_is_kept_under_its_hash_whoever_asks_first(project: Project, admin: Api) -> None:
    local = admin("GET", "/pipelines/local")
    first = version_of(project.pk, "local", local["hash"], local["spec"])
    assert version_of(project.pk, "local", local["hash"], local["spec"]) == first
    assert version_of(project.pk, "local", "0" * 16, {}).number == 2
    # That it ran does not make it the project's own.
    assert admin("GET", "/pipelines/local")["builtin"]
    assert len(admin("GET", "/pipelines/local/versions")["items"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "status", "says"),
    [
        ("mine", {"yaml": "name: ["}, 400, "YAML"),
        ("mine", {}, 400, "either"),
        ("other", yaml("mine"), 400, "/pipelines/mine"),
        ("local", yaml("local"), 409, "built in"),
        ("mine", yaml(llm="simulatd"), 422, "did you mean 'simulated'?"),
    ],
)
def test_what_can_not_be_stored_is_refused_with_the_mend(
    admin: Api, name: str, content: dict[str, Any], status: int, says: str
) -> None:
    assert says in admin.error("PUT", f"/pipelines/{name}", content, status=status)
    assert not PipelineVersion.objects.exists()


def test_a_pipeline_of_components_nobody_knows_yet_can_be_stored_on_purpose(admin: Api) -> None:
    assert admin("PUT", "/pipelines/mine?unchecked=true", yaml(llm="to-come"))["version"] == 1


def test_an_unknown_name_gets_the_nearest(admin: Api, stranger: Api) -> None:
    admin("PUT", "/pipelines/sandwich", yaml("sandwich"))
    assert "did you mean 'sandwich'?" in admin.error("GET", "/pipelines/sandwhich", status=404)
    assert "sandwich'?" not in stranger.error("GET", "/pipelines/sandwhich", status=404)


# ---- checking ------------------------------------------------------------------------------------------------


def test_a_check_says_what_is_wrong_and_what_is_needed(admin: Api) -> None:
    good = admin("POST", "/pipelines/check", yaml())
    assert good["ok"]
    assert good["needs"][0] == {"kind": "stt", "component": "simulated"}
    bad = admin("POST", "/pipelines/check", yaml(llm="simulatd"))
    assert not bad["ok"]
    assert "did you mean 'simulated'?" in bad["errors"][0]
    assert not admin("POST", "/pipelines/check", {"yaml": "- nothing"})["ok"]


def test_what_an_agent_registered_counts_as_known_in_its_project_only(
    project: Project, admin: Api, stranger: Api
) -> None:
    schema = {"type": "object", "properties": {"size": {"type": "integer"}}, "additionalProperties": False}
    offered = [{"kind": "llm", "name": "my-llm", "package": "my-package", "schema": schema}]
    api_for(project, Scope.AGENT)("POST", "/agents", registration(components=offered))
    assert admin("POST", "/pipelines/check", yaml(llm="my-llm"))["ok"]
    assert not stranger("POST", "/pipelines/check", yaml(llm="my-llm"))["ok"]
    wrong = yaml(llm="my-llm")["yaml"].replace("llm: my-llm", "llm: my-llm\n    siz: 3")
    errors = admin("POST", "/pipelines/check", {"yaml": wrong})["errors"]
    assert "'size'" in errors[0]


# ---- resolving -----------------------------------------------------------------------------------------------


def test_resolving_says_which_stages_nobody_offers(project: Project, admin: Api) -> None:
    admin("PUT", "/pipelines/mine", yaml())
    agent = agent_with(project, "stt:simulated", "llm:simulated")
    answer = admin("GET", "/pipelines/mine/resolve")
    assert answer["missing"] == [{"kind": "tts", "component": "simulated"}]
    assert any("tts:simulated" in problem and "--offer" in problem for problem in answer["problems"])
    assert any("hosts sessions" in problem for problem in answer["problems"])
    agent_with(project, "tts:simulated", roles=["host"])
    assert admin("GET", "/pipelines/mine/resolve")["problems"] == []
    agent.draining = True
    agent.save()
    assert len(admin("GET", "/pipelines/mine/resolve")["missing"]) == 2


def test_a_version_is_resolved_by_its_hash_as_it_was(admin: Api, stranger: Api) -> None:
    was = admin("PUT", "/pipelines/mine", yaml())["hash"]
    admin("PUT", "/pipelines/mine", {"yaml": yaml()["yaml"] + "turn_taking: {end_of_turn_silence: 0.9}\n"})
    answer = admin("GET", f"/pipelines/mine@{was}/resolve")
    assert (answer["name"], answer["hash"]) == ("mine", was)
    assert admin("GET", "/pipelines/mine/resolve")["hash"] != was
    builtin = admin("GET", "/pipelines/local")["hash"]
    assert admin("GET", f"/pipelines/local@{builtin}/resolve")["hash"] == builtin
    stranger.error("GET", f"/pipelines/mine@{was}/resolve", status=404)
    admin.error("GET", "/pipelines/mine@0123/resolve", status=404)


def test_an_agent_of_another_project_does_not_count(other_project: Project, admin: Api) -> None:
    admin("PUT", "/pipelines/mine", yaml())
    agent_with(other_project, "stt:simulated", "llm:simulated", "tts:simulated", roles=["host"])
    assert len(admin("GET", "/pipelines/mine/resolve")["missing"]) == 3
    assert Offer.objects.count() == 3


def test_devices_and_the_gateway_resolve(project: Project, gateway: Api) -> None:
    api_for(project, Scope.DEVICE)("GET", "/pipelines/local/resolve")
    answer = gateway("GET", "/pipelines/local/resolve", OpenOmni_Project="home")
    assert answer["name"] == "local"
    assert set(answer) >= {"name", "hash", "spec", "problems"}
