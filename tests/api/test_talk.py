"""Who is shown the talk page, and who is given a token to talk with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.support import agent_with, person
from openomni import records
from openomni.api.accounts.authentication import of_text
from openomni.api.accounts.models import Project, Role, Scope, Token, User
from openomni.api.pipelines import storing
from openomni.api.records import waterfall
from openomni.bounds import MAX_SECONDS, stored
from openomni.pipeline import spec
from openomni.records import StageRecord, TurnRecord
from openomni.trace import Part


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


# ---- the timeline of a turn that may not be stored yet -------------------------------------------------------

STAGE = StageRecord(
    task_id="t", kind="stt", component="faster-whisper", status="completed", model_s=0.1, started_s=0.2, ended_s=0.35
)
TURN = TurnRecord(
    project="home", turn_id="a", session_id="s", index=0, pipeline="local", pipeline_hash="h", status="completed",
    stages=[STAGE], parts=[Part("end_of_turn", "", 0.0, 0.2), Part("model", "stt", 0.2, 0.35)],
)  # fmt: skip


@pytest.fixture
def viewer(project: Project) -> Client:
    return signed_in(person("viewer", Role.VIEWER, project))


def drawn(client: Client, body: bytes) -> Any:
    return client.post("/talk/timeline/", body, content_type="application/json")


def test_a_turn_is_drawn_as_on_its_own_page(viewer: Client) -> None:
    answer = drawn(viewer, records.encode(TURN))
    assert answer.status_code == 200
    assert answer.content.decode() == waterfall.draw(TURN)


def test_what_is_no_turn_is_one_line(viewer: Client) -> None:
    session = records.SessionRecord(project="home", session_id="s", pipeline="p", pipeline_hash="h", spec={})
    for body in (b"", b"{", b"[]", b'{"type": "turn"}', records.encode(session), b'{"type":' * 9000):
        answer = drawn(viewer, body)
        assert (answer.status_code, answer["Content-Type"]) == (400, "text/plain"), body
        assert answer.content.startswith(b"this is no turn's record")


SECONDS = st.floats(-MAX_SECONDS, MAX_SECONDS)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(SECONDS, min_size=2, max_size=2), SECONDS, st.text(max_size=60))
def test_whatever_a_record_may_hold_is_drawn(viewer: Client, span: list[float], model: float, text: str) -> None:
    stage = msgspec.structs.replace(
        STAGE, started_s=span[0], ended_s=span[1], model_s=model, component=stored(text), status="failed"
    )
    point = records.TimePointRecord(stored(text), span[1], "host")
    turn = msgspec.structs.replace(TURN, parts=[Part("model", "stt", *span)], stages=[stage], time_points=[point])
    answer = drawn(viewer, records.encode(turn))
    if answer.status_code == 400:  # a name that no record has
        with pytest.raises(msgspec.MsgspecError):
            records.bounded(turn)
        return
    assert answer.status_code == 200
    assert answer.content.count(b"<line") < 40


def test_a_timeline_is_for_who_may_read_conversations(project: Project) -> None:
    annotator = signed_in(person("annotator", Role.ANNOTATOR, project))
    assert drawn(annotator, records.encode(TURN)).status_code == 403
    assert drawn(Client(), records.encode(TURN)).status_code == 302


def test_a_pipeline_that_a_session_would_refuse_says_why(project: Project) -> None:
    agent_with(project, "stt:simulated", "llm:simulated", "tts:simulated", roles=["host"])
    text = (
        "name: mine\nstages:\n  - stt: simulated\n  - llm: simulated\n  - tts: simulated\nturn_taking: {vad: nosuch}\n"
    )
    storing.store(project.pk, spec.parse(text), text)
    client = signed_in(person("viewer", Role.VIEWER, project))
    known = {each["name"]: each for each in client.get("/talk/pipelines/").json()["items"]}
    assert known["mine"]["missing"] == []
    assert "unknown vad 'nosuch'" in known["mine"]["fault"]
