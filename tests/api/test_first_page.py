"""The first page says what a session would say: a pipeline is ready where one would begin."""

from __future__ import annotations

import pytest

from api.support import Api, agent_with, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.fleet.models import Offer
from openomni.api.ground import bus_line
from openomni.api.pipelines import storing
from openomni.api.start import checks
from openomni.components import registry
from openomni.pipeline import spec

OFFER = ("stt:simulated", "llm:simulated", "tts:simulated")
YAML = "name: {name}\nstages:\n  - stt: simulated\n  - llm: simulated\n{more}  - tts: simulated\n{taking}"


@pytest.fixture(autouse=True)
def bus_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_line, "connected", lambda: True)


@pytest.fixture
def device(project: Project) -> Api:
    return api_for(project, Scope.DEVICE)


@pytest.mark.parametrize(
    ("more", "taking", "says"),
    [
        ("", "", ""),
        ("    texts: 7\n", "", "unknown parameter 'texts'"),
        ("    text: 7\n", "", "text"),
        ("", "turn_taking: {vad: nosuch}\n", "unknown vad 'nosuch'"),
    ],
)
def test_what_a_session_refuses_is_not_ready_and_says_why(
    project: Project, device: Api, more: str, taking: str, says: str
) -> None:
    agent_with(project, *OFFER, roles=["host"])
    Offer.objects.filter(kind="llm").update(schema=registry.find("llm", "simulated").schema)
    text = YAML.format(name="mine", more=more, taking=taking)
    storing.store(project.pk, spec.parse(text), text)

    health = checks.look(project.pk, "http://lab.example")

    problems = device("GET", "/pipelines/mine/resolve")["problems"]
    assert ("mine" in health.ready) is (not problems) is (not says)
    (finding,) = (each for each in health.findings if each.what == "Pipelines")
    if says:
        assert says in problems[0]
        assert finding.mend == problems[0]
        assert "mine" in finding.line


def test_what_an_agent_would_mend_comes_with_its_command(project: Project) -> None:
    agent_with(project, *OFFER[:2], roles=["host"])
    text = YAML.format(name="mine", more="", taking="")
    storing.store(project.pk, spec.parse(text), text)
    (finding,) = (each for each in checks.look(project.pk, "http://lab.example").findings if each.what == "Pipelines")
    assert "mine" in finding.line
    assert "--offer " in finding.command
