"""Work for agents: queued once, refused at once when nobody could do it, and seen when it failed too often."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from api.bus import connecting, line, recording
from api.support import Api, agent_with, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.fleet.models import Agent
from openomni.api.ground import bus_line
from openomni.api.queue import dead_letters, outbox
from openomni.api.queue.models import QueuedWork
from openomni.api.records.models import Recording, Session, Turn
from openomni.api.records.recorder import write_batch
from openomni.api.records.signals import cell_written
from openomni.bus import dead, envelope, streams, subjects, work
from openomni.bus.connection import Bus
from openomni.bus.envelope import found_turn
from openomni.bus.records import RecordWriter
from openomni.records import AnyRecord, CellRecord, RecordingRecord, SegmentRecord, TurnRecord, encode

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


async def claimed(bus: Bus) -> list[work.Work]:
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
        body = work.TurnWork.of(first)
        assert (body.turn_id, body.start, body.end, body.segment) == (answer["turns"][0]["turn_id"], 0, 2.5, False)
        assert (first.project, body.recording, first.spec_hash) == ("home", "r1", session["pipeline_hash"])
        assert device("GET", f"/pipelines/versions/{first.spec_hash}")["spec"] == session["spec"]
        assert first.needs == list(NEEDS)

    def test_a_turn_of_a_session_is_queued_when_what_was_said_before_is_known(
        self, device: Api, line: Callable[..., Any]
    ) -> None:
        turns = device("POST", "/turns/queue", request(spans=[[0, 2.5], [2.5, 6], [6, 7]]), 202)["turns"]
        assert [each.work_id for each in line(claimed)] == [turns[0]["turn_id"]]
        for place, (before, after) in enumerate(pairwise(each["turn_id"] for each in turns)):
            done = turn(turn_id=before, index=place, status="completed", version=2, transcript="x" * 100_000)
            write_batch([done])
            write_batch([done])
            outbox.hand_over("s1")
            (following,) = line(claimed)
            assert (following.work_id, following.body["after"]) == (after, before)
            assert len(envelope.encode(following)) < 1000, "it does not grow with what was said"
        assert QueuedWork.objects.get().pk == after

    def test_what_was_found_in_a_recording_is_queued_in_its_order(self, device: Api, line: Callable[..., Any]) -> None:
        device("POST", "/turns/queue", request(options={"a": 1}), 202)
        (whole,) = line(claimed)
        ids = [found_turn(whole.work_id, number) for number in range(3)]
        found = [
            turn(turn_id=key, index=place, status="pending", version=2, recording="r1",
                 segments=[SegmentRecord("user", 16_000 * place, 16_000 * place + 8_000)])
            for place, key in enumerate(ids)
        ]  # fmt: skip
        write_batch(found)
        write_batch(found)
        for place, key in enumerate(ids):
            outbox.hand_over("s1")
            (next_one,) = line(claimed)
            body = work.TurnWork.of(next_one)
            assert (body.turn_id, body.start, body.end, body.segment) == (key, place, place + 0.5, False)
            assert (body.options, next_one.attempt) == ({"a": 1}, 1 if place else 2)
            write_batch([turn(turn_id=key, index=place, status="completed", version=3)])
        assert not QueuedWork.objects.exists()
        assert Session.objects.get().status == "closed"

    def test_asking_twice_without_a_session_adds_nothing(self, device: Api, line: Callable[..., Any]) -> None:
        first = device("POST", "/turns/queue", {"recording_id": "r1", "pipeline": "local"}, 202)
        assert device("POST", "/turns/queue", {"recording_id": "r1", "pipeline": "local"}, 202) == first
        assert (Session.objects.count(), len(line(claimed))) == (1, 1)

    def test_without_spans_the_speech_is_found_by_the_agent(self, device: Api, line: Callable[..., Any]) -> None:
        device("POST", "/turns/queue", request(), 202)
        (whole,) = line(claimed)
        body = work.TurnWork.of(whole)
        assert (body.segment, body.start, body.end) == (True, 0, -1)

    def test_asking_again_adds_nothing(self, device: Api, line: Callable[..., Any]) -> None:
        first = device("POST", "/turns/queue", request(spans=[[0, 1]]), 202)
        assert device("POST", "/turns/queue", request(spans=[[0, 1]]), 202) == first
        assert Turn.objects.count() == 1
        assert len(line(claimed)) == 1

    def test_more_spans_of_the_session_are_counted_on(self, device: Api, line: Callable[..., Any]) -> None:
        device("POST", "/turns/queue", request(spans=[[0, 1]]), 202)
        answer = device("POST", "/turns/queue", request(spans=[[0, 1], [1, 2]]), 202)
        assert [each["index"] for each in answer["turns"]] == [0, 1]
        assert len(line(claimed)) == 1, "the second waits for what is said in the first"

    def test_what_the_bus_did_not_take_is_handed_over_when_it_is_back(
        self, device: Api, connecting: Callable[..., Any]
    ) -> None:
        device("POST", "/turns/queue", request(spans=[[0, 1]]), 202)
        assert (Turn.objects.get().status, Turn.objects.get().queued_at) == ("pending", None)
        stop = bus_line.start(connecting)
        try:
            bus_line.run(streams.declare)
            outbox.hand_over("s1")
            assert Turn.objects.get().queued_at is not None
            outbox.hand_over("s1")
            assert len(bus_line.run(claimed)) == 1
        finally:
            stop()

    def test_work_that_the_bus_never_takes_fails_and_holds_nothing_up(
        self, device: Api, line: Callable[..., Any]
    ) -> None:
        answer = device("POST", "/turns/queue", request(spans=[[0, 1], [1, 2]], options={"a": "x" * (2 << 20)}), 202)
        outbox.hand_over("s1")
        for each in answer["turns"]:
            row = device("GET", f"/turns/{each['turn_id']}")
            assert row["status"] == "failed"
            assert row["reason"].startswith("it can't be queued: ")
        device("POST", "/turns/queue", request(session_id="s2", spans=[[0, 1]]), 202)
        assert len(line(claimed)) == 1
        assert QueuedWork.objects.get().session_id == "s2"

    def test_work_that_was_handed_over_and_not_marked_is_queued_once(
        self, device: Api, line: Callable[..., Any]
    ) -> None:
        device("POST", "/turns/queue", request(spans=[[0, 1]]), 202)
        QueuedWork.objects.update(handed_at=None)
        outbox.hand_over("s1")
        assert len(line(claimed)) == 1

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
    assert letter["content"]["body"]["recording"] == "r1"
    (found,) = line(lambda bus: dead.dead(bus, "home"))
    dead_letters.fail(envelope.decode(found.content, found.subject), found.reason)
    turn = device("GET", f"/turns/{failed}")
    assert (turn["status"], turn["reason"]) == ("failed", "stt:faster-whisper raised MemoryError")
    admin("POST", f"/tasks/dead/{letter['sequence']}/retry", expect=202)
    assert admin("GET", "/tasks/dead")["items"] == []
    assert [(each.work_id, each.attempt) for each in line(claimed)] == [(failed, 2)]
    assert device("GET", f"/turns/{failed}")["status"] == "pending"


def test_a_cell_whose_callers_were_lost_has_failed(project: Project) -> None:
    told: list[CellRecord] = []

    def heard(record: CellRecord, **_: Any) -> None:
        told.append(record)

    cell_written.connect(heard)
    call = envelope.CallWork(cell="c1", experiment="7", pipeline="local", session_id="s", attempt=3, utterances=[])
    content = envelope.encode(call.work("home", "h", group="7"))
    letter = dead.DeadLetter(kind="call", key="c1", reason="3 attempts ended without an answer", content=content)

    async def run(act: Callable[[], bool]) -> bool:
        return act()

    looking = dead_letters._look_after(SimpleNamespace(), letter, run)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):  # it waits for nothing, and stays where the test's transaction is
        looking.send(None)
    (cell,) = told
    assert (cell.project, cell.cell, cell.attempt, cell.status) == ("home", "c1", 3, "failed")
    assert cell.reason == letter.reason


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
    wait_for(lambda: Turn.objects.filter(index=1).exclude(queued_at=None).exists())
    (following,) = line(claimed)
    body = work.TurnWork.of(following)
    assert (body.index, body.start, body.end, body.after) == (1, 1, 2, failed)
    assert Session.objects.get().status == "open"
    line(lambda bus: written(bus, turn(turn_id=body.turn_id, status="completed", version=2)))
    wait_for(lambda: Session.objects.get().status == "closed")


@pytest.mark.usefixtures("recording")
def test_records_that_a_newer_version_wrote_are_written_back_by_the_one_that_reads_them(
    project: Project, line: Callable[..., Any]
) -> None:
    unread = dead.DeadLetter(
        kind="record", key="record-1", reason="not a record of this version", cause="unreadable",
        subject=subjects.record("home"), content=encode(turn(turn_id="t9")),
    )  # fmt: skip
    line(lambda bus: dead.bury(bus, "home", unread, "record-1"))
    wait_for(lambda: Turn.objects.filter(pk="t9").exists())
    assert line(lambda bus: dead.dead(bus, "home")) == []


@pytest.mark.usefixtures("recording")
def test_one_letter_that_can_t_be_looked_after_stops_no_other(
    project: Project, line: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_back = dead.write_back_readable

    async def failing(bus: Bus, letter: dead.DeadLetter) -> bool:
        if letter.key == "record-1":
            raise ValueError("a NUL in its name")
        return await write_back(bus, letter)

    monkeypatch.setattr(dead, "write_back_readable", failing)
    for number in (1, 2):
        unread = dead.DeadLetter(
            kind="record", key=f"record-{number}", reason="of tomorrow", cause="unreadable",
            subject=subjects.record("home"), content=encode(turn(turn_id=f"t{number}")),
        )  # fmt: skip
        line(lambda bus, letter=unread: dead.bury(bus, "home", letter, letter.key))
    wait_for(lambda: Turn.objects.filter(pk="t2").exists())
