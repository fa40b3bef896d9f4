"""Agents: registering, credentials for the bus, and which are alive."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from api.support import Api, agent_with, api_for, registration
from openomni.api.accounts.models import Project, Scope
from openomni.api.fleet import presence
from openomni.api.fleet.models import Agent
from openomni.api.fleet.overview import Card
from openomni.bus.credentials import Keys
from openomni.bus.fleet import Presence
from openomni.version import __version__


@pytest.fixture
def agent_api(project: Project) -> Api:
    return api_for(project, Scope.AGENT)


def claims(jwt: str) -> dict[str, Any]:
    part = jwt.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def test_an_agent_registers_and_gets_into_its_projects_part_of_the_bus(agent_api: Api) -> None:
    sent = registration()
    answer = agent_api("POST", "/agents", sent)
    assert answer["project"] == "home"
    assert answer["bus"]["urls"] == ["nats://127.0.0.1:4222"]
    assert answer["bus"]["inbox_prefix"].endswith(answer["agent_id"])
    user = claims(answer["bus"]["jwt"])
    assert user["sub"] == sent["public_key"]
    assert all(subject.split(".")[1] == "home" for subject in user["nats"]["pub"]["allow"] if subject[:3] == "oo.h")
    listed = agent_api("GET", "/agents")["items"]
    assert [(agent["name"], agent["alive"]) for agent in listed] == [("box-1", True)]
    assert listed[0]["components"][0]["schema"] == {"type": "object"}


def test_registering_again_updates_the_agent_and_replaces_what_it_offers(agent_api: Api) -> None:
    first = agent_api("POST", "/agents", registration())
    components = [{"kind": "tts", "name": "piper", "schema": {}}, {"kind": "tts", "name": "piper", "schema": {"a": 1}}]
    second = agent_api("POST", "/agents", registration(components=components, slots=5))
    assert second["agent_id"] == first["agent_id"]
    agent = agent_api("GET", f"/agents/{first['agent_id']}")
    assert agent["slots"] == 5
    offered = [(each["kind"], each["name"], each["schema"]) for each in agent["components"]]
    assert offered == [("tts", "piper", {"a": 1})]


def test_the_same_name_in_another_project_is_another_agent(agent_api: Api, other_project: Project) -> None:
    other = api_for(other_project, Scope.AGENT)
    mine, theirs = agent_api("POST", "/agents", registration()), other("POST", "/agents", registration())
    assert mine["agent_id"] != theirs["agent_id"]


def test_credentials_are_renewed_and_end_with_the_token(project: Project) -> None:
    until = timezone.now() + timedelta(minutes=5)
    api = api_for(project, Scope.AGENT, expires_at=until)
    agent = api("POST", "/agents", registration())
    keys = Keys.create()
    renewed = api("POST", f"/agents/{agent['agent_id']}/credentials", {"public_key": keys.public})
    assert claims(renewed["jwt"])["sub"] == keys.public
    assert renewed["expires_at"] == pytest.approx(until.timestamp(), abs=2)


def test_a_malformed_registration_leaves_nothing_behind(agent_api: Api) -> None:
    assert "U…" in agent_api.error("POST", "/agents", registration(public_key="rubbish"), status=400)
    odd = registration(components=[{"kind": "sst", "name": "x"}])
    assert "did you mean 'stt'?" in agent_api.error("POST", "/agents", odd, status=422)
    assert not Agent.objects.exists()


def test_only_agents_register(project: Project, agent_api: Api) -> None:
    assert "agent" in api_for(project, Scope.DEVICE).error("POST", "/agents", registration(), status=403)
    agent_api.error("POST", "/agents/0000/credentials", {"public_key": Keys.create().public}, status=404)


def test_without_a_bus_an_agent_is_told_so(agent_api: Api, server_settings: Any) -> None:
    server_settings.BUS_URL = ""
    assert "OPENOMNI_BUS_URL" in agent_api.error("POST", "/agents", registration(), status=503)


@pytest.mark.parametrize(
    ("settings_", "address", "urls"),
    [
        ({}, "10.0.0.7", ["ws://testserver/bus"]),
        ({}, "127.0.0.1", ["nats://127.0.0.1:4222"]),
        (
            {"BUS_URL": "nats://nats-1:4222,nats://nats-2:4222"},
            "10.0.0.7",
            ["nats://nats-1:4222", "nats://nats-2:4222"],
        ),
        ({"BUS_PUBLIC_URL": "wss://lab.example/bus"}, "10.0.0.7", ["wss://lab.example/bus"]),
    ],
)
def test_an_agent_elsewhere_reaches_the_bus_by_the_door_it_came_in_by(
    agent_api: Api, server_settings: Any, rf: Any, settings_: dict[str, str], address: str, urls: list[str]
) -> None:
    from openomni.api.ground import bus_access

    for name, value in settings_.items():
        setattr(server_settings, name, value)
    assert bus_access.urls(rf.post("/api/v1/agents", REMOTE_ADDR=address)) == urls


# ---- alive or not --------------------------------------------------------------------------------------------


def said(agent: Agent, **fields: Any) -> Presence:
    return Presence(agent_id=agent.pk, name=agent.name, project=agent.project_id, **fields)


@pytest.mark.django_db(transaction=True)
def test_what_an_agent_says_of_itself_is_noted(project: Project) -> None:
    agent = agent_with(project, last_seen=None)
    assert not agent.alive
    presence.note([said(agent, roles=["host"], slots=3, busy=2, sessions=1, health="low on memory")])
    agent.refresh_from_db()
    assert agent.alive
    assert (agent.slots, agent.busy, agent.sessions, agent.health) == (3, 2, 1, "low on memory")
    presence.note([], left=[agent.pk])
    agent.refresh_from_db()
    assert agent.draining


@pytest.mark.django_db(transaction=True)
def test_nobody_speaks_for_an_agent_of_another_project(project: Project, other_project: Project) -> None:
    agent = agent_with(project, last_seen=None)
    presence.note([Presence(agent_id=agent.pk, name="x", project=other_project.pk, busy=9)])
    agent.refresh_from_db()
    assert agent.last_seen is None


def test_an_agent_that_was_silent_for_a_while_is_gone(project: Project, admin: Api) -> None:
    gone = agent_with(project, name="gone", last_seen=timezone.now() - timedelta(seconds=4))
    agent_with(project, name="here")
    assert [agent["name"] for agent in admin("GET", "/agents?alive=true")["items"]] == ["here"]
    assert [agent["name"] for agent in admin("GET", "/agents?alive=false")["items"]] == ["gone"]
    admin("DELETE", f"/agents/{gone.pk}", expect=204)
    assert Agent.objects.count() == 1


def test_an_agent_that_is_alive_is_drained_before_it_is_forgotten(project: Project, admin: Api) -> None:
    agent = agent_with(project)
    assert "drain" in admin.error("DELETE", f"/agents/{agent.pk}", status=409)
    # No bus runs here, so the request ends with a line, not with a hang.
    assert "bus" in admin.error("POST", f"/agents/{agent.pk}/drain", status=503)


def test_components_are_listed_with_how_many_offer_them_now(project: Project, admin: Api) -> None:
    agent_with(project, "llm:simulated", "tts:piper")
    agent_with(project, "llm:simulated", last_seen=timezone.now() - timedelta(hours=1))
    found = {f"{each['kind']}:{each['name']}": each["agents"] for each in admin("GET", "/components")["items"]}
    assert found == {"llm:simulated": 1, "tts:piper": 1}
    assert [each["kind"] for each in admin("GET", "/components?kind=tts")["items"]] == ["tts"]
    assert "did you mean 'tts'?" in admin.error("GET", "/components?kind=ttss", status=422)


@pytest.mark.parametrize(
    ("version", "mend"),
    [("", "it did not say its version"), ("0.0.9", "too old for this server"), (__version__, "")],
)
def test_an_agent_whose_version_is_a_fault_is_in_trouble(version: str, mend: str) -> None:
    card = Card(Agent(version=version), "alive", "good", None)
    assert mend in card.version_fault
    assert card.in_trouble is bool(mend)
