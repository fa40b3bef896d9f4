"""Turns that are queued to be run again: rows and work of their own, refused at once where they can't be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from api.bus import connecting, line
from api.support import Api, agent_with, api_for, person
from api.test_queue import claimed
from openomni.api.accounts.models import Project, Role, Scope
from openomni.api.queue.models import QueuedWork
from openomni.api.records.models import Recording, Session, Turn
from openomni.api.records.recorder import write_batch
from openomni.bus.work import TurnWork
from openomni.pipeline import spec
from openomni.records import SegmentRecord, SessionRecord, StageRecord, TurnRecord, UtteranceRecord

__all__ = ["connecting", "line"]

LOCAL = spec.builtin()["local"]
OTHER = {"name": "other", "stages": [{"stt": "faster-whisper"}, {"llm": "llama-cpp", "instructions": "Be brief."},
                                     {"tts": "piper"}]}  # fmt: skip


def turn(turn_id: str = "t1", **fields: Any) -> TurnRecord:
    known: dict[str, Any] = {
        "session_id": "s1", "status": "completed", "version": 3, "transcript": "hello", "recording": "r1",
        "participant": "P07",
        "segments": [SegmentRecord("user", 33_600, 48_000)], "utterance": UtteranceRecord("r1", 32_000, 52_000),
        "stages": [StageRecord(task_id="a", kind="stt", component="faster-whisper", output={"text": "hello"})],
    }  # fmt: skip
    return TurnRecord(
        project="home", turn_id=turn_id, pipeline="local", pipeline_hash=LOCAL.hash, **{"index": 0, **known, **fields},
    )  # fmt: skip


def keep(*turns: TurnRecord, position: int = 16_000) -> None:
    session = SessionRecord(
        project="home", session_id="s1", pipeline="local", pipeline_hash=LOCAL.hash, spec=LOCAL.normalised(),
        device="d1", site="ward-3", status="closed", participant="P07", consent="c1",
    )  # fmt: skip
    write_batch([session, *turns])
    Recording.objects.create(
        id="r1", project_id="home", session_id="s1", status=Recording.Status.COMPLETE, position=position
    )


@pytest.fixture
def researcher(project: Project) -> Api:
    agent_with(
        project, "stt:faster-whisper", "llm:llama-cpp", "tts:piper", roles=["host"],
        last_seen=timezone.now() + timedelta(hours=1),
    )  # fmt: skip
    return api_for(project, Scope.RESEARCHER)


def bodies(line: Callable[..., Any]) -> dict[str, TurnWork]:
    return {each.work_id: TurnWork.of(each) for each in line(claimed)}


def test_a_rerun_is_a_turn_of_its_own_with_the_span_that_was_heard(researcher: Api, line: Callable[..., Any]) -> None:
    keep(turn(), turn("t2", index=1))
    (first, second) = researcher("POST", "/turns/rerun", {"turns": ["t1", "t2"]}, 202)["turns"]
    assert (first["reruns"], second["reruns"], first["pipeline_hash"]) == ("t1", "t2", LOCAL.hash)
    assert first["session_id"] == second["session_id"] != "s1"
    work = bodies(line)
    assert work.keys() == {first["turn_id"], second["turn_id"]}, "none waits for another"
    body = work[first["turn_id"]]
    assert (body.recording, body.start, body.end) == ("r1", 1.0, 2.25), "the recording begins at one second"
    assert (body.reruns, body.begin, body.given, body.after) == ("t1", "", {}, "")
    row = researcher("GET", f"/turns/{first['turn_id']}")
    assert (row["status"], row["reruns"], row["origin"], row["live"]) == ("pending", "t1", "reprocess", False)
    session = Session.objects.get(pk=first["session_id"])
    assert (session.site, session.device, session.participant, session.consent) == ("ward-3", "d1", "P07", "c1")
    assert (session.status, session.recordings) == ("open", ["r1"])
    assert Turn.objects.get(pk="t1").status == "completed", "a run never replaces another"


def test_several_pipelines_each_from_a_stage_on_with_a_correction(researcher: Api, line: Callable[..., Any]) -> None:
    researcher("PUT", "/pipelines/other", {"spec": OTHER})
    keep(turn())
    asked = {"turns": ["t1"], "pipelines": ["other", f"local@{LOCAL.hash}"], "from": "llm", "with": {"stt": "hallo"}}
    made = researcher("POST", "/turns/rerun", asked, 202)["turns"]
    assert [each["pipeline"] for each in made] == ["other", "local"]
    assert len({each["session_id"] for each in made}) == 2
    assert {(each.begin, each.given["stt"]) for each in bodies(line).values()} == {("llm", "hallo")}


def test_the_same_request_again_adds_nothing(researcher: Api, line: Callable[..., Any]) -> None:
    keep(turn())
    asked = {"turns": ["t1"], "session_id": "again"}
    first = researcher("POST", "/turns/rerun", asked, 202)
    assert researcher("POST", "/turns/rerun", asked, 202) == first
    assert len(bodies(line)) == 1
    done = turn(first["turns"][0]["turn_id"], session_id="again", version=2, reruns="t1")
    write_batch([done])
    assert researcher("POST", "/turns/rerun", asked, 202)["turns"][0]["status"] == "completed"
    assert not QueuedWork.objects.exists()
    assert Session.objects.get(pk="again").status == "closed"
    researcher("POST", "/turns/rerun", {"turns": ["t1"]}, 202)
    assert Turn.objects.filter(reruns="t1").count() == 2, "without a session's id it is run once more"


def test_a_rerun_of_a_rerun_counts_from_the_recordings_beginning(researcher: Api, line: Callable[..., Any]) -> None:
    keep(turn())
    (one,) = researcher("POST", "/turns/rerun", {"turns": ["t1"], "session_id": "again"}, 202)["turns"]
    write_batch([turn(one["turn_id"], session_id="again", version=2, utterance=UtteranceRecord("r1", 16_000, 36_000))])
    (two,) = researcher("POST", "/turns/rerun", {"turns": [one["turn_id"]]}, 202)["turns"]
    body = bodies(line)[two["turn_id"]]
    assert (body.start, body.end, body.reruns) == (1.0, 2.25, one["turn_id"])


def test_what_was_typed_has_no_recording(researcher: Api, line: Callable[..., Any]) -> None:
    keep(turn(utterance=None, segments=[], recording="r1"))
    researcher("POST", "/turns/rerun", {"turns": ["t1"]}, 202)
    (body,) = bodies(line).values()
    assert (body.recording, body.start, body.end) == ("", 0.0, 0.0)


def test_what_was_said_when_its_agent_was_lost_can_be_answered_yet(researcher: Api, line: Callable[..., Any]) -> None:
    keep(turn(utterance=None, status="failed", stages=[]))
    researcher("POST", "/turns/rerun", {"turns": ["t1"]}, 202)
    (body,) = bodies(line).values()
    assert body.start == pytest.approx(1.1)
    assert 2.0 <= body.end <= 2.5


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"turns": ["t9"]}, 404, "there is no turn 't9'"),
        ({"turns": []}, 422, "turns"),
        ({"turns": ["t1"], "pipelines": ["lokal"]}, 404, "did you mean 'local'"),
        ({"turns": ["t1"], "pipelines": ["local@0000"]}, 404, "version of 'local'"),
        ({"turns": ["t1"], "from": "tts"}, 400, "turn t1 has no output of llm on record"),
        ({"turns": ["t1"], "with": {"vad": "x"}}, 400, "has no vad stage"),
        ({"turns": ["t1"], "with": {"stt": "reference"}}, 400, "turns have no references yet"),
        ({"turns": ["t1"], "session_id": "s1"}, 409, "is taken"),
        ({"turns": ["open"]}, 409, "is started"),
        ({"turns": ["lost"]}, 409, "its recording was not kept"),
    ],
)
def test_what_cant_be_run_again_is_refused_in_a_line_and_nothing_is_queued(
    researcher: Api, asked: Any, status: int, said: str
) -> None:
    keep(turn(), turn("open", status="started"), turn("lost", utterance=UtteranceRecord("gone", 0, 9)))
    before = Turn.objects.count()
    assert said in researcher.error("POST", "/turns/rerun", asked, status=status)
    assert (Turn.objects.count(), QueuedWork.objects.count()) == (before, 0)


def test_what_no_agent_offers_is_said_at_once_unless_it_may_wait(project: Project) -> None:
    api = api_for(project, Scope.RESEARCHER)
    keep(turn())
    assert "start one" in api.error("POST", "/turns/rerun", {"turns": ["t1"]}, status=409)
    api("POST", "/turns/rerun", {"turns": ["t1"], "wait": True}, 202)
    assert Turn.objects.get(reruns="t1").status == "pending"


def test_nobody_runs_another_place_or_projects_turns_again(researcher: Api, stranger: Api, project: Project) -> None:
    keep(turn())
    elsewhere = api_for(project, Scope.DEVICE, site="ward-4")
    for api in (stranger, elsewhere):
        assert "there is no turn 't1'" in api.error("POST", "/turns/rerun", {"turns": ["t1"]}, status=404)


def test_a_page_runs_a_turn_again_with_what_was_corrected_by_hand(researcher: Api, project: Project) -> None:
    keep(turn())
    browser = Client()
    browser.force_login(person("ada", Role.RESEARCHER, project))
    page = "/conversations/s1/t1/again/"
    assert "hello</textarea>" in browser.get(page).content.decode()
    refused = browser.post(page, {"pipeline": "", "from": "tts", "with-stt": "Hello there."})
    assert refused.status_code == 422
    assert "no stage that runs takes it" in refused.content.decode()
    assert "Hello there.</textarea>" in refused.content.decode()
    answer = browser.post(page, {"pipeline": "", "from": "", "with-stt": "Hello there."})
    made = Turn.objects.get(reruns="t1")
    assert answer.status_code == 302
    assert answer["Location"] == f"/conversations/{made.session_id}/?project=home"
    asked = QueuedWork.objects.get(pk=made.pk).work["body"]
    assert (asked["begin"], asked["given"]) == ("", {"stt": "Hello there."})


def test_whoever_may_not_run_anything_has_no_page_for_it(researcher: Api, project: Project) -> None:
    keep(turn())
    browser = Client()
    browser.force_login(person("eve", Role.VIEWER, project))
    assert browser.get("/conversations/s1/t1/again/").status_code == 403
    assert "Run again" not in browser.get("/conversations/s1/").content.decode()
