"""Work for agents: queued once, refused at once when nobody could do it, and seen when it failed too often."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.utils import timezone

from api.bus import connecting, line, recording
from api.support import Api, agent_with, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.fleet.models import Agent
from openomni.api.ground import bus_line
from openomni.api.queue import dead_letters
from openomni.api.records.models import Recording, Session, Turn
from openomni.bus import dead, streams, subjects, work
from openomni.bus.connection import Bus
from openomni.bus.records import RecordWriter
from openomni.records import AnyRecord, RecordingRecord, TurnRecord, encode

__all__ = ["connecting", "line", "recording"]

NEEDS = ("stt:faster-whisper", "llm:llama-cpp", "tts:piper")


def live_agent(project: Project, *components: str) -> Agent:
    """Alive for as long as the test may take."""
    return agent_with(project, *components, roles=["host"], last_seen=timezone.now() + timedelta(hours=1))


@pytest.fixture
def device(project: Project) -> Api:
    return api_for(project, Scope.DEVICE)


@pytest.fixture
def agent(project: Project) -> Agent:
    return live_agent(project, *NEEDS)


@pytest.fixture
def interview(device: Api) -> str:
    """The id of a recording that is complete."""
    device("PUT", "/recordings/r1", {"media_type": "audio/wav", "started_at": 1_740_000_000.0, "source": "file:a.wav"})
    device("PATCH", "/recordings/r1?offset=0", b"sound")
    device("POST", "/recordings/r1/complete", {"sha256": hashlib.sha256(b"sound").hexdigest(), "size": 5})
    return "r1"


def request(**fields: Any) -> dict[str, Any]:
    return {"recording_id": "r1", "pipeline": "local", "session_id": "s1"} | fields


async def written(bus: Bus, *records: AnyRecord) -> None:
    async with RecordWriter(bus) as writer:
        for record in records:
            writer.write(record)
        await writer.flush(5)


async def claimed(bus: Bus) -> list[work.TurnWork]:
    """All work that waits in the project's queue."""
    found = []
    stored = (await bus.jetstream.stream_info(subjects.WORK)).state.messages
    async with work.WorkQueue(bus, "home") as queue:
        for _ in range(stored):
            claim = await queue.claim()
            found.append(claim.work)
            await claim.done()
    return found


@pytest.mark.usefixtures("agent", "interview")
class TestQueueing:
    def test_turns_are_rows_at_once_and_work_for_agents(self, device: Api, line: Callable[..., Any]) -> None:
        answer = device("POST", "/turns/queue", request(spans=[[0, 2.5], [2.5, 6]]), 202)
        assert [(each["index"], each["status"]) for each in answer["turns"]] == [(0, "pending"), (1, "pending")]
        assert {each["status"] for each in device("GET", "/turns?session=s1")["items"]} == {"pending"}
        session = device("GET", "/sessions/s1")
        assert (session["pipeline"], session["recordings"], session["source"]) == ("local", ["r1"], "file:a.wav")
        (first,) = line(claimed)
        assert (first.turn_id, first.start, first.end, first.segment) == (answer["turns"][0]["turn_id"], 0, 2.5, False)
        assert (first.project, first.recording, first.pipeline_hash) == ("home", "r1", session["pipeline_hash"])
        assert first.spec == session["spec"]
        assert first.then == [{"turn_id": answer["turns"][1]["turn_id"], "index": 1, "start": 2.5, "end": 6}]

    def test_without_spans_the_speech_is_found_by_the_agent(self, device: Api, line: Callable[..., Any]) -> None:
        device("POST", "/turns/queue", request(), 202)
        (whole,) = line(claimed)
        assert (whole.segment, whole.start, whole.end) == (True, 0, -1)

    def test_asking_again_adds_nothing(self, device: Api, line: Callable[..., Any]) -> None:
        first = device("POST", "/turns/queue", request(spans=[[0, 1]]), 202)
        assert device("POST", "/turns/queue", request(spans=[[0, 1]]), 202) == first
        assert Turn.objects.count() == 1
        assert len(line(claimed)) == 1

    def test_more_spans_of_the_session_are_counted_on(self, device: Api, line: Callable[..., Any]) -> None:
        device("POST", "/turns/queue", request(spans=[[0, 1]]), 202)
        answer = device("POST", "/turns/queue", request(spans=[[0, 1], [1, 2]]), 202)
        assert [each["index"] for each in answer["turns"]] == [0, 1]
        assert len(line(claimed)) == 2

    def test_what_the_bus_did_not_take_is_handed_over_by_the_next_request(
        self, device: Api, connecting: Callable[..., Any]
    ) -> None:
        assert "bus" in device.error("POST", "/turns/queue", request(spans=[[0, 1]]), status=503)
        assert Turn.objects.get().status == "pending"
        stop = bus_line.start(connecting)
        try:
            bus_line.run(streams.declare)
            device("POST", "/turns/queue", request(spans=[[0, 1]]), 202)
            assert len(bus_line.run(claimed)) == 1
        finally:
            stop()

    @pytest.mark.parametrize("spans", [[], [[-1, 2]], [[3, 2]], [[0, 1, 2]]])
    def test_spans_that_are_none_are_refused(self, device: Api, spans: Any) -> None:
        device.error("POST", "/turns/queue", request(spans=spans), status=422)
        assert not Turn.objects.exists()


def test_what_no_live_agent_offers_is_said_at_once(device: Api, interview: str, project: Project) -> None:
    agent_with(project, *NEEDS, last_seen=None)
    live_agent(project, "stt:faster-whisper", "tts:piper")
    refusal = device.error("POST", "/turns/queue", request(), status=409)
    assert "no live agent offers llm:llama-cpp" in refusal
    assert not Session.objects.exists()


def test_work_waits_for_an_agent_only_when_asked_to(
    device: Api, interview: str, line: Callable[..., Any], project: Project
) -> None:
    agent_with(project, *NEEDS, last_seen=None)
    device("POST", "/turns/queue", request(), 409)
    device("POST", "/turns/queue", request(wait=True), 202)
    assert len(line(claimed)) == 1


@pytest.mark.usefixtures("agent")
def test_a_recording_that_is_not_here_cannot_be_run(device: Api, stranger: Api, interview: str) -> None:
    assert "recording 'r9'" in device.error("POST", "/turns/queue", request(recording_id="r9"), status=404)
    stranger.error("POST", "/turns/queue", request(), status=404)
    device("PUT", "/recordings/r2", {})
    device("PATCH", "/recordings/r2?offset=0", b"half")
    assert device("POST", "/turns/queue", request(recording_id="r2"), 409)["received"] == 4


# ---- what failed too often -----------------------------------------------------------------------------------


@pytest.fixture
def failed(device: Api, agent: Any, interview: str, line: Callable[..., Any]) -> str:
    """The id of a turn that went to the dead."""

    async def fail(bus: Bus) -> None:
        async with work.WorkQueue(bus, "home") as queue:
            await (await queue.claim()).bury("stt:faster-whisper raised MemoryError")

    answer = device("POST", "/turns/queue", request(spans=[[0, 1], [1, 2]]), 202)
    line(fail)
    return answer["turns"][0]["turn_id"]


def test_dead_work_is_seen_with_its_reason_and_tried_again(
    device: Api, admin: Api, failed: str, line: Callable[..., Any]
) -> None:
    (letter,) = admin("GET", "/tasks/dead")["items"]
    assert (letter["key"], letter["reason"]) == (failed, "stt:faster-whisper raised MemoryError")
    assert letter["content"]["recording"] == "r1"
    (found,) = line(lambda bus: dead.dead(bus, "home"))
    dead_letters.fail(msgspec.json.decode(found.content, type=work.TurnWork), found.reason)
    turn = device("GET", f"/turns/{failed}")
    assert (turn["status"], turn["reason"]) == ("failed", "stt:faster-whisper raised MemoryError")
    admin("POST", f"/tasks/dead/{letter['sequence']}/retry", expect=202)
    assert admin("GET", "/tasks/dead")["items"] == []
    assert [each.turn_id for each in line(claimed)] == [failed]
    assert device("GET", f"/turns/{failed}")["status"] == "pending"


def test_dead_work_is_seen_and_tried_again_from_its_own_site(project: Project, admin: Api, failed: str) -> None:
    Session.objects.update(site="north", device="bedside")
    (letter,) = admin("GET", "/tasks/dead")["items"]
    retry = f"/tasks/dead/{letter['sequence']}/retry"
    for limit in ({"site": "south"}, {"device": "kitchen"}):
        other = api_for(project, Scope.ADMIN, **limit)
        assert other("GET", "/tasks/dead?limit=1") == {"items": [], "next": None}
        other.error("POST", retry, status=404)
    for limit in ({"site": "north"}, {"device": "bedside"}):
        assert api_for(project, Scope.ADMIN, **limit)("GET", "/tasks/dead")["items"] == [letter]
    api_for(project, Scope.ADMIN, site="north")("POST", retry, expect=202)


def test_turns_are_queued_into_sessions_of_ones_own_place(project: Project, agent: Agent, interview: str) -> None:
    Recording.objects.update(site="north")
    Session.objects.create(project=project, id="s1", pipeline="local", site="south")
    north = api_for(project, Scope.RESEARCHER, site="north")
    assert "make a new one" in north.error("POST", "/turns/queue", request(), status=409)
    north.error("POST", "/turns/queue", request(recording_id="none"), status=404)
    api_for(project, Scope.RESEARCHER, site="south").error("POST", "/turns/queue", request(), status=404)


def test_dead_work_is_its_projects_own(stranger: Api, admin: Api, failed: str) -> None:
    assert stranger("GET", "/tasks/dead")["items"] == []
    (letter,) = admin("GET", "/tasks/dead")["items"]
    stranger.error("POST", f"/tasks/dead/{letter['sequence']}/retry", status=404)
    admin.error("POST", "/tasks/dead/99/retry", status=404)
    assert len(admin("GET", "/tasks/dead")["items"]) == 1


# ---- with the recorder on the bus ------------------------------------------------------------------------------


def wait_for(seen: Callable[[], bool]) -> None:
    """Until the recorder's thread has done it; a test that hangs here fails by its own timeout."""
    deadline = time.monotonic() + 20
    while not seen():
        assert time.monotonic() < deadline, "the recorder did not write it"
        time.sleep(0.02)


def turn(**fields: Any) -> TurnRecord:
    known = {"project": "home", "turn_id": "t1", "session_id": "s1", "index": 0, "pipeline": "local"}
    return TurnRecord(**{**known, "pipeline_hash": "abc"} | fields)


@pytest.mark.usefixtures("recording")
def test_records_on_the_bus_end_up_in_the_tables(project: Project, line: Callable[..., Any]) -> None:
    versions = [turn(version=version, transcript=f"version {version}") for version in (1, 2, 3)]
    recorded = RecordingRecord(project="home", recording_id="r1", kind="audio", session_id="s1")
    line(lambda bus: written(bus, *versions, recorded))
    wait_for(lambda: Session.objects.filter(recorded__pk="r1", turns__transcript="version 3").exists())


@pytest.mark.usefixtures("recording")
def test_what_is_no_record_or_claims_another_project_holds_nothing_up(
    project: Project, other_project: Project, admin: Api, line: Callable[..., Any]
) -> None:
    async def write(bus: Bus) -> None:
        subject = subjects.record("home")
        await bus.store(subject, b"no record")
        await bus.store(subject, encode(turn(project="ward", turn_id="forged")))
        await bus.store(subject, encode(turn(turn_id="bad", index=-1)))
        await bus.store(subject, encode(turn(turn_id="good")))

    line(write)
    wait_for(lambda: Turn.objects.filter(pk="good").exists())
    wait_for(lambda: len(admin("GET", "/tasks/dead")["items"]) == 3)
    assert list(Turn.objects.values_list("pk", flat=True)) == ["good"]


@pytest.mark.usefixtures("recording")
def test_a_turn_whose_agents_were_killed_is_marked_as_failed_and_the_next_is_queued(
    failed: str, line: Callable[..., Any]
) -> None:
    wait_for(lambda: Turn.objects.get(pk=failed).status == "failed")
    (following,) = line(claimed)
    assert (following.index, following.start, following.end, following.then) == (1, 1, 2, [])
    assert Session.objects.get().status == "open"
    line(lambda bus: written(bus, turn(turn_id=following.turn_id, status="completed", version=2)))
    wait_for(lambda: Session.objects.get().status == "closed")
