"""Sessions over REST: announced by whoever opens them, filled by what is recorded."""

from __future__ import annotations

import pytest

from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.records import rest
from openomni.api.records.models import Session
from openomni.api.records.recorder import write_batch
from openomni.records import SessionRecord

NEW = {"session_id": "s1", "pipeline": "local", "source": "mic", "started_at": 1_740_000_000.5, "recording": "r1"}


@pytest.fixture
def device(project: Project) -> Api:
    return api_for(project, Scope.DEVICE, site="north", device="bedside")


def test_an_announced_session_knows_its_pipeline_and_its_device(device: Api) -> None:
    session = device("POST", "/sessions", NEW)
    assert session == device("GET", "/sessions/s1")
    assert (session["pipeline"], session["site"], session["device"]) == ("local", "north", "bedside")
    assert (session["status"], session["started_at"], session["recordings"]) == ("open", 1_740_000_000.5, ["r1"])
    assert session["pipeline_hash"]
    assert session["spec"]["stages"]


def test_announcing_it_again_changes_nothing(device: Api) -> None:
    first = device("POST", "/sessions", NEW)
    assert device("POST", "/sessions", {**NEW, "source": "file:other"}) == first


def test_what_is_recorded_fills_it(device: Api) -> None:
    session = device("POST", "/sessions", NEW)
    record = SessionRecord(
        project="home",
        session_id="s1",
        pipeline="local",
        pipeline_hash=session["pipeline_hash"],
        spec=session["spec"],
        site="north",
        device="bedside",
        status="closed",
        ended_at=1_740_000_060.0,
    )
    write_batch([record])
    after = device("GET", "/sessions/s1")
    assert (after["status"], after["ended_at"], after["started_at"]) == ("closed", 1_740_000_060.0, 1_740_000_000.5)


def test_an_unknown_pipeline_is_refused_with_the_nearest(device: Api) -> None:
    line = device.error("POST", "/sessions", {**NEW, "pipeline": "lokal"}, status=404)
    assert "did you mean 'local'?" in line


def test_sessions_are_the_projects_own(device: Api, stranger: Api) -> None:
    device("POST", "/sessions", NEW)
    assert stranger("GET", "/sessions")["items"] == []
    stranger.error("GET", "/sessions/s1", status=404)
    assert "taken" in stranger.error("POST", "/sessions", NEW, status=409)
    assert [each["session_id"] for each in device("GET", "/sessions?pipeline=local&device=bedside")["items"]] == ["s1"]


def test_a_token_announces_so_many_sessions_and_no_more(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAX_ANNOUNCED", 2)
    device = api_for(project, Scope.DEVICE)
    for key in ("a", "b", "b"):
        device("POST", "/sessions", {"session_id": key, "pipeline": "local"})
    line = device.error("POST", "/sessions", {"session_id": "c", "pipeline": "local"}, status=429)
    assert "2 sessions" in line
    api_for(project, Scope.DEVICE)("POST", "/sessions", {"session_id": "c", "pipeline": "local"})
    Session.objects.filter(pk="a").update(version=1)  # it was opened
    device("POST", "/sessions", {"session_id": "d", "pipeline": "local"})
