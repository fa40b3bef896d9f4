"""Turns and tasks over REST and in the admin: in the shape that the command line prints, with a picture of the time."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from typing import Any

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from api.support import Api, api_for, person
from openomni.api.accounts.models import Project, Role, Scope
from openomni.api.records import waterfall
from openomni.api.records.models import Turn
from openomni.api.records.recorder import write_batch
from openomni.records import (
    AttemptRecord,
    RecordingRecord,
    SegmentRecord,
    SessionRecord,
    StageRecord,
    TimePointRecord,
    TurnRecord,
)
from openomni.trace import Part

TURN = TurnRecord(
    project="home",
    version=3,
    turn_id="t1",
    session_id="s1",
    index=0,
    pipeline="local",
    pipeline_hash="abc",
    status="completed",
    transcript="What is the capital of France?",
    reply_text="Paris.",
    reply_audio="r2",
    recording="r1",
    voice_to_voice_s=0.61,
    heard_at="client",
    residue_s=0.01,
    segments=[SegmentRecord("user", 1600, 48000)],
    stages=[
        StageRecord(
            task_id="k1",
            kind="stt",
            component="faster-whisper",
            agent="a2",
            status="completed",
            queue_s=0.01,
            transfer_s=0.002,
            load_s=0.0,
            model_s=0.1,
            ttfb_s=0.11,
            started_s=0.2,
            ended_s=0.32,
            output={"text": "What is the capital of France?"},
            attempts=[
                AttemptRecord(number=1, agent="a1", status="failed", reason="the agent is gone"),
                AttemptRecord(number=2, agent="a2", status="completed", started_s=0.2, ended_s=0.32),
            ],
        ),
        StageRecord(task_id="k2", kind="llm", component="llama-cpp", status="failed", reason="out of memory"),
    ],
    time_points=[TimePointRecord("end_of_turn", 0.2, "host", 0.001)],
    parts=[
        Part("end_of_turn", "", 0.0, 0.2),
        Part("queue", "stt", 0.2, 0.21),
        Part("model", "stt", 0.21, 0.31),
        Part("residue", "", 0.31, 0.61),
    ],
    started_at=1_740_000_000.25,
)


@pytest.fixture(autouse=True)
def recorded(project: Project, other_project: Project) -> None:
    fields: dict[str, Any] = {"pipeline": "local", "pipeline_hash": "abc", "spec": {"stages": []}}
    write_batch(
        [
            SessionRecord(project="home", session_id="s1", device="bedside", source="mic", **fields),
            RecordingRecord(project="home", recording_id="r1", kind="audio", session_id="s1"),
            TURN,
            msgspec.structs.replace(TURN, turn_id="t2", index=1, status="failed", reason="llm raised", stages=[]),
            SessionRecord(project="ward", session_id="s9", device="ward-only", **fields | {"pipeline": "secret"}),
            msgspec.structs.replace(TURN, project="ward", turn_id="turn-elsewhere", session_id="s9", pipeline="secret"),
        ]
    )


def exported(response: Any) -> bytes:
    async def read() -> bytes:
        return b"".join([piece async for piece in response.streaming_content])

    return async_to_sync(read)()


# ---- REST ----------------------------------------------------------------------------------------------------


def test_a_turn_has_the_shape_of_its_contract(admin: Api) -> None:
    assert admin("GET", "/turns/t1") == msgspec.to_builtins(TURN)


def test_turns_are_listed_newest_first_and_filtered(admin: Api) -> None:
    def listed(query: str = "") -> list[str]:
        return [each["turn_id"] for each in admin("GET", f"/turns{query}")["items"]]

    assert listed() == ["t2", "t1"]
    assert listed("?session=s1&status=failed") == ["t2"]
    assert listed("?pipeline=local") == listed("?pipeline=abc") == ["t2", "t1"]
    assert listed("?pipeline=other") == listed("?session=s9") == []


def test_turns_are_paged_by_cursor(admin: Api) -> None:
    first = admin("GET", "/turns?limit=1")
    second = admin("GET", f"/turns?limit=1&cursor={first['next']}")
    assert [page["items"][0]["turn_id"] for page in (first, second)] == ["t2", "t1"]
    assert second["next"] is None


def test_tasks_are_listed_with_their_attempts(admin: Api) -> None:
    (task,) = admin("GET", "/tasks?kind=stt")["items"]
    assert (task["task_id"], task["turn_id"], task["session_id"], task["model_s"]) == ("k1", "t1", "s1", 0.1)
    assert [(each["number"], each["status"]) for each in task["attempts"]] == [(1, "failed"), (2, "completed")]
    assert [each["component"] for each in admin("GET", "/tasks?turn=t1&status=failed")["items"]] == ["llama-cpp"]


def test_nobody_sees_the_turns_of_another_project(admin: Api, stranger: Api) -> None:
    assert [each["turn_id"] for each in stranger("GET", "/turns")["items"]] == ["turn-elsewhere"]
    stranger.error("GET", "/turns/t1", status=404)
    assert {each["turn_id"] for each in stranger("GET", "/tasks")["items"]} == {"turn-elsewhere"}
    assert Api().raw("GET", "/turns/t1").status_code == 401


def test_a_turn_needs_a_scope_that_reads(project: Project) -> None:
    for scope in (Scope.AGENT, Scope.VIEWER):
        assert api_for(project, scope)("GET", "/turns/t1")["turn_id"] == "t1"
    api_for(project, Scope.ANNOTATOR).error("GET", "/turns/t1", status=403)


def test_the_openapi_of_a_turn_is_typed(admin: Api) -> None:
    schemas = admin("GET", "/openapi.json")["components"]["schemas"]
    assert set(msgspec.to_builtins(TURN)) == set(schemas["TurnRecord"]["properties"])


# ---- admin ---------------------------------------------------------------------------------------------------


@pytest.fixture
def researcher(project: Project) -> Client:
    browser = Client()
    browser.force_login(person("ada", Role.RESEARCHER, project))
    return browser


def test_the_page_of_a_turn_shows_its_timeline_its_stages_and_its_sound(researcher: Client) -> None:
    page = researcher.get("/admin/records/turn/t1/change/").content.decode()
    assert "<svg" in page
    assert "faster-whisper model: 100.0 ms from 212.0 ms on" in page
    assert "the agent is gone" in page
    assert "end_of_turn: 200.0 ms host" in page
    assert 'name="_save"' not in page


def test_lists_show_what_is_the_projects_and_nothing_else(researcher: Client) -> None:
    for name, own, others in (
        ("turn", "local", "secret"),
        ("session", "bedside", "ward-only"),
        ("task", "llama", "turn-elsewhere"),
    ):
        page = researcher.get(f"/admin/records/{name}/").content.decode()
        assert own in page
        assert others not in page
    assert researcher.get("/admin/records/turn/turn-elsewhere/change/").status_code == 302


@pytest.mark.parametrize("name", ["turn", "session", "task"])
def test_evidence_is_not_edited_by_hand(researcher: Client, name: str) -> None:
    assert researcher.get(f"/admin/records/{name}/add/").status_code == 403
    assert researcher.post("/admin/records/turn/t1/change/", {"transcript": "forged"}).status_code == 403
    assert researcher.post("/admin/records/turn/t1/delete/", {"post": "yes"}).status_code == 403
    assert Turn.objects.get(pk="t1").transcript == TURN.transcript


def test_every_list_and_page_opens(researcher: Client) -> None:
    for path in (
        "records/session/s1/change/",
        "records/task/",
        f"records/task/{Turn.objects.get(pk='t1').tasks.get(task_id='k1').pk}/change/",
        "records/turn/?status=failed&session__device=bedside",
        "records/recording/",
        "records/recording/r1/change/",
    ):
        assert researcher.get(f"/admin/{path}").status_code == 200, path


def test_turns_are_exported_as_json_and_csv(researcher: Client) -> None:
    def export(action: str) -> bytes:
        chosen = {"action": action, "_selected_action": ["t1", "t2"]}
        return exported(researcher.post("/admin/records/turn/", chosen))

    turns = json.loads(export("export_json"))["turns"]
    assert {each["turn_id"]: each for each in turns}["t1"] == msgspec.to_builtins(TURN)
    rows = list(csv.DictReader(io.StringIO(export("export_csv").decode())))
    assert [row["transcript"] for row in rows] == [TURN.transcript] * 2
    (segment,) = json.loads(rows[0]["segments"])
    assert segment.items() >= {"speaker": "user", "start": 1600, "end": 48000}.items()


def test_what_somebody_said_is_no_formula_in_an_export(researcher: Client) -> None:
    Turn.objects.filter(pk="t1").update(transcript='=HYPERLINK("http://evil")')
    chosen = {"action": "export_csv", "_selected_action": ["t1"]}
    (row,) = csv.DictReader(io.StringIO(exported(researcher.post("/admin/records/turn/", chosen)).decode()))
    assert row["transcript"] == '\'=HYPERLINK("http://evil")'


# ---- the picture ---------------------------------------------------------------------------------------------


def test_the_timeline_has_a_row_for_the_turn_and_one_for_each_stage_that_was_timed() -> None:
    _, *pictures = waterfall.draw(TURN).split("<svg")
    assert len(pictures) == 2, "for a screen, and for a phone"
    for svg in pictures:
        assert svg.count("<rect") == len(TURN.parts) + 4  # queue, transfer, model, and waiting for input of the stt
        assert ">turn<" in svg
        assert ">stt<" in svg
        assert ">llm" not in svg


@pytest.mark.parametrize("started", [-3.2, -1.4, -0.4, -0.03, 0.0])
@pytest.mark.parametrize("seconds", [0.3, 0.45, 1.0, 3.45, 27.0])
def test_each_timeline_has_a_scale(started: float, seconds: float) -> None:
    stage = StageRecord(task_id="a", kind="stt", component="x", started_s=started, ended_s=seconds)
    _, *pictures = waterfall.draw(msgspec.structs.replace(TURN, parts=[], stages=[stage], time_points=[])).split("<svg")
    for svg in pictures:
        ticks = [float(at) for at in re.findall(r">(-?[\d.]+) ms</text>", svg)]
        assert 2 <= len(ticks) <= 8
        assert all(started * 1000 - 1 <= at <= seconds * 1000 + 1 for at in ticks)
        assert len({round(second - first, 3) for first, second in itertools.pairwise(ticks)}) == 1


def test_a_timeline_says_what_its_times_count_from() -> None:
    assert "Milliseconds from the last user speech sample" in waterfall.draw(TURN)
    assert "Milliseconds from when the answer was asked for" in waterfall.draw(
        msgspec.structs.replace(TURN, segments=[])
    )


def test_a_turn_without_times_says_so() -> None:
    bare = msgspec.structs.replace(TURN, parts=[], stages=[])
    assert "Nothing of this turn was timed" in waterfall.draw(bare)


def test_names_in_the_timeline_are_escaped() -> None:
    stage = msgspec.structs.replace(TURN.stages[0], component="<script>")
    assert "<script>" not in waterfall.draw(msgspec.structs.replace(TURN, stages=[stage]))
