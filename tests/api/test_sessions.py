"""Sessions over REST: announced by whoever opens them, filled by what is recorded."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from django.utils import timezone

from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.people.models import Consent, Participant
from openomni.api.records import rest
from openomni.api.records.models import Session
from openomni.api.records.recorder import write_batch
from openomni.records import SegmentRecord, SessionRecord, TurnRecord

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


@pytest.fixture
def p07(project: Project) -> Participant:
    """Agreed to being recorded, for good, and to sharing, until yesterday."""
    who = Participant.objects.create(project=project, code="P-07")
    for purpose, withdrawn in (("sharing", timezone.now() - timedelta(days=1)), ("recording", None)):
        Consent.objects.create(
            project=project, participant=who, purpose=purpose, withdrawn_at=withdrawn,
            given_at=timezone.now() - timedelta(days=30),
        )  # fmt: skip
    return who


def whose(row: dict[str, object]) -> tuple[object, object]:
    return row["participant"], row["consent"]


def test_who_is_heard_and_what_they_agreed_to_stands_on_all_of_a_session(admin: Api, p07: Participant) -> None:
    """Whichever of it comes first."""
    admin("PUT", "/recordings/early", {"session_id": "live"})
    admin("PUT", "/recordings/reply", {"session_id": "live", "kind": "reply"})
    segments = [SegmentRecord("user", 0, 10, "early"), SegmentRecord("guest", 5, 9, participant="P-99", confidence=0.7)]
    same = {"project": "home", "session_id": "live", "pipeline": "local", "pipeline_hash": ""}
    turn = TurnRecord(**same, turn_id="t", index=0, segments=segments)
    opened = SessionRecord(**same, spec={}, participant="P-07", consent="all", context="lab, two chairs")
    write_batch([turn, opened, msgspec.structs.replace(turn, version=2)])
    admin("PUT", "/recordings/late", {"session_id": "live"})
    session = admin("GET", "/sessions/live")
    assert (whose(session), session["context"]) == (("P-07", "recording"), "lab, two chairs")
    for key in ("early", "late"):
        assert whose(admin("GET", f"/recordings/{key}")) == ("P-07", "recording")
    assert whose(admin("GET", "/recordings/reply")) == ("", "")
    found = admin("GET", "/turns/t")
    assert found["participant"] == "P-07"
    assert [whose(each) for each in found["segments"]] == [("P-07", "recording"), ("P-99", "")]


def test_a_session_says_at_its_announcement_who_is_heard_and_why(admin: Api, p07: Participant) -> None:
    told = {"participant": "P-07", "consent": "all", "context": "a note", "origin": "replay"}
    session = admin("POST", "/sessions", {**NEW, **told, "started_at": 0.0})
    assert (*whose(session), session["context"], session["origin"]) == ("P-07", "recording", "a note", "replay")
    before = timezone.now() - timedelta(days=2)
    earlier = admin("POST", "/sessions", {**NEW, **told, "session_id": "s2", "started_at": before.timestamp()})
    assert earlier["consent"] == "recording, sharing", "as it was when it began"
    unknown = admin("POST", "/sessions", {**NEW, **told, "session_id": "s3", "participant": "P-99"})
    assert whose(unknown) == ("P-99", "all"), "the project knows nobody of that code"
    admin.error("POST", "/sessions", {**NEW, "session_id": "s4", "origin": "dream"}, status=422)


def test_who_was_taken_for_somebody_else_is_put_right(admin: Api, p07: Participant) -> None:
    admin("POST", "/sessions", {**NEW, "participant": "P-99", "started_at": 0.0})
    admin("PUT", "/recordings/r1", {"session_id": "s1"})
    assert whose(admin("GET", "/recordings/r1")) == ("P-99", "")
    assert whose(admin("PATCH", "/sessions/s1", {"participant": "P-07", "context": "new"})) == ("P-07", "recording")
    assert whose(admin("GET", "/recordings/r1")) == ("P-07", "recording")
    record = SessionRecord(
        project="home", session_id="s1", pipeline="local", pipeline_hash="", spec={}, participant="P-99", context="old"
    )
    write_batch([record])
    session = admin("GET", "/sessions/s1")
    assert (*whose(session), session["context"]) == ("P-07", "recording", "new"), "its host knows it no better"


def test_a_device_says_so_of_its_own_sessions_alone(project: Project) -> None:
    mine, another = api_for(project, Scope.DEVICE), api_for(project, Scope.DEVICE)
    mine("POST", "/sessions", NEW)
    another.error("PATCH", "/sessions/s1", {"participant": "P-07"}, status=404)
    assert mine("PATCH", "/sessions/s1", {"participant": "P-07"})["participant"] == "P-07"
