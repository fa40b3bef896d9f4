"""The single writer: what comes on the bus ends up in the tables once, whatever order it comes in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from django.db import OperationalError, connection

from openomni.api.accounts.models import Project
from openomni.api.pipelines.models import PipelineVersion
from openomni.api.records import recorder, signals, snapshots
from openomni.api.records.models import Attempt, Recording, Segment, Session, Task, TimePoint, Tombstone, Turn
from openomni.api.records.recorder import write_batch
from openomni.bus.records import Unwritable
from openomni.records import (
    AnyRecord,
    AskedRecord,
    AttemptRecord,
    CalledRecord,
    CellRecord,
    DismissedRecord,
    PauseRecord,
    RecordingRecord,
    SegmentRecord,
    SessionRecord,
    StageRecord,
    TimePointRecord,
    TurnRecord,
    UtteranceRecord,
)
from openomni.trace import Part

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ward() -> Project:
    return Project.objects.create(slug="ward", name="Ward")


@pytest.fixture(autouse=True)
def lab() -> Project:
    return Project.objects.create(slug="lab", name="Lab")


def session(**fields: Any) -> SessionRecord:
    known = {"project": "ward", "session_id": "s1", "pipeline": "local", "pipeline_hash": "abc", "spec": {"stages": []}}
    return SessionRecord(**known | fields)


def turn(**fields: Any) -> TurnRecord:
    known = {"project": "ward", "turn_id": "t1", "session_id": "s1", "index": 0, "pipeline": "local"}
    return TurnRecord(**{**known, "pipeline_hash": "abc"} | fields)


def stage(task_id: str = "k1", **fields: Any) -> StageRecord:
    return StageRecord(task_id=task_id, **{"kind": "stt", "component": "faster-whisper"} | fields)


def write(*records: AnyRecord) -> None:
    write_batch(records)


def keys(model: Any) -> list[int]:
    return sorted(model.objects.values_list("pk", flat=True))


COMPLETE = turn(
    version=3,
    status="completed",
    transcript="What is the capital of France?",
    reply_text="Paris.",
    reply_audio="r2",
    recording="r1",
    voice_to_voice_s=0.61,
    heard_at="client",
    residue_s=0.01,
    segments=[SegmentRecord("user", 1600, 48000)],
    pauses=[
        PauseRecord(at=20_000, revision=0, finished=0.2, silence_s=0.74),
        PauseRecord(at=48_000, revision=1, finished=0.9, recogniser=0.8, silence_s=0.4, ended=True),
    ],
    dismissed=[DismissedRecord(start=60_000, end=66_000, why="guess", text="and then", log_probability=-1.3)],
    stages=[
        stage(
            status="completed",
            agent="a2",
            queue_s=0.001,
            lost_s=0.05,
            model_s=0.1,
            started_s=0.2,
            ended_s=0.3,
            output={"text": "What is the capital of France?"},
            attempts=[
                AttemptRecord(number=1, agent="a1", status="failed", reason="the agent is gone"),
                AttemptRecord(number=2, agent="a2", status="completed", started_s=0.2, ended_s=0.3),
            ],
        ),
        stage("k2", kind="llm", component="llama-cpp", status="completed", started_s=0.3),
    ],
    time_points=[TimePointRecord("end_of_turn", 0.2, "host", 0.001)],
    parts=[Part("end_of_turn", "", 0.0, 0.2), Part("model", "stt", 0.2, 0.3)],
    started_at=1_700_000_000.25,
    utterance=UtteranceRecord("r1", 0, 50_000),
    asked=AskedRecord(instructions="Be brief.", tools=[{"name": "light"}], text_only=True),
    given={"stt": "corrected"},
)


def test_a_turn_is_read_back_as_it_was_recorded() -> None:
    write(session(), COMPLETE)
    assert snapshots.turn_record(Turn.objects.get()) == COMPLETE


def test_a_session_is_read_back_as_it_was_recorded() -> None:
    record = session(device="bedside", site="north", source="mic", started_at=1_700_000_000.5, recordings=["r1"])
    write(record)
    assert snapshots.session_record(Session.objects.get()) == record


def test_a_session_keeps_the_version_of_the_pipeline_that_it_ran() -> None:
    write(session(), session(session_id="s2"), session(session_id="s3", pipeline_hash="def"))
    assert sorted(PipelineVersion.objects.values_list("pipeline__name", "number", "hash")) == [
        ("local", 1, "abc"),
        ("local", 2, "def"),
    ]


def test_the_same_record_again_changes_nothing() -> None:
    write(session(), COMPLETE, COMPLETE)
    before = keys(Task), keys(Attempt)
    write(COMPLETE)
    assert (Turn.objects.count(), Task.objects.count(), Attempt.objects.count()) == (1, 2, 2)
    assert before == (keys(Task), keys(Attempt))


def test_a_version_that_is_not_newer_is_ignored() -> None:
    write(turn(version=2, transcript="second"), turn(version=1, transcript="first"), turn(version=2, transcript="also"))
    assert Turn.objects.get().transcript == "second"
    write(session(version=5, status="closed"), session(version=4, status="open"))
    assert Session.objects.get().status == "closed"


def test_a_turn_that_came_before_its_session_waits_in_a_placeholder() -> None:
    write(turn())
    assert (Session.objects.get().pipeline, Session.objects.get().version) == ("", 0)
    write(session(source="mic"))
    assert (Session.objects.get().pipeline, Session.objects.get().source) == ("local", "mic")
    assert Turn.objects.get().session.pk == "s1"


def test_a_task_is_recorded_once_with_all_its_attempts() -> None:
    first = AttemptRecord(number=1, agent="a1", status="started")
    write(turn(version=1, stages=[stage(status="started", agent="a1", attempts=[first])]))
    first = AttemptRecord(number=1, agent="a1", status="failed", reason="the agent is gone")
    second = AttemptRecord(number=2, agent="a2", status="completed")
    write(turn(version=2, status="completed", stages=[stage(status="completed", agent="a2", attempts=[first, second])]))
    task = Task.objects.get()
    assert (task.status, task.agent) == ("completed", "a2")
    assert [(each.number, each.agent, each.status) for each in task.attempts.all()] == [
        (1, "a1", "failed"),
        (2, "a2", "completed"),
    ]


def test_a_turn_that_another_agent_runs_again_counts_although_its_versions_start_again() -> None:
    write(turn(version=7, status="started", stages=[stage("dead", status="started")]))
    write(turn(version=2, status="completed", stages=[stage("alive", status="completed")]))
    assert Turn.objects.get().status == "completed"
    assert dict(Task.objects.values_list("task_id", "status")) == {"dead": "superseded", "alive": "completed"}


@pytest.mark.parametrize(
    ("been", "come", "stays"),
    [
        ("completed", "started", "completed"),
        ("completed", "failed", "completed"),
        ("failed", "completed", "completed"),
        ("completed", "cancelled", "cancelled"),
    ],
)
def test_how_far_a_turn_came_is_not_taken_back(been: str, come: str, stays: str) -> None:
    write(turn(version=2, status=been), turn(version=3, status=come))
    assert Turn.objects.get().status == stays


def test_a_session_that_another_host_took_over_is_open_from_its_first_start_on() -> None:
    write(session(version=1, started_at=100.0))
    write(session(version=1000, started_at=200.0), session(version=2, status="lost", ended_at=201.0))
    kept = Session.objects.get()
    assert (kept.status, snapshots.unix(kept.started_at)) == ("open", 100.0)


def test_turns_that_died_with_their_host_end_with_the_session() -> None:
    running = stage("k1", status="started", attempts=[AttemptRecord(number=1, agent="a", status="started")])
    write(session(version=1), turn(status="started", stages=[running]), turn(turn_id="t2", status="completed"))
    write(session(version=2, status="lost"))
    assert dict(Turn.objects.values_list("pk", "status")) == {"t1": "failed", "t2": "completed"}
    for row in (Turn.objects.get(pk="t1"), Task.objects.get(), Attempt.objects.get()):
        assert (row.status, row.reason) == ("failed", "the agent that hosted it was lost")
    write(turn(version=2, status="completed"))
    assert Turn.objects.get(pk="t1").status == "completed", "its host lived after all"


@pytest.mark.parametrize("bad", [turn(turn_id="bad", index=-1), turn(turn_id="bad", project="nowhere")])
def test_a_batch_with_what_can_never_be_written_says_so_and_writes_nothing(bad: TurnRecord) -> None:
    with pytest.raises(Unwritable):
        write(turn(turn_id="good"), bad)
    assert not Turn.objects.exists()


def test_ids_of_another_project_are_not_taken_over() -> None:
    write(session(source="mic"), turn(transcript="private"))
    for stolen in (
        session(project="lab", version=9, source="stolen"),
        turn(project="lab", version=9, session_id="s2", transcript="stolen"),
        turn(project="lab", version=9, turn_id="t2"),
        RecordingRecord(project="lab", recording_id="r1", kind="audio", session_id="s1"),
    ):
        with pytest.raises(Unwritable, match="belongs to another project"):
            write(stolen)
    assert (Session.objects.get().project_id, Session.objects.get().source) == ("ward", "mic")
    assert (Turn.objects.get().project_id, Turn.objects.get().transcript) == ("ward", "private")


def test_a_recording_is_known_before_its_bytes_come() -> None:
    write(RecordingRecord(project="ward", recording_id="r1", kind="reply", session_id="s1", turn_id="t1", rate=22050))
    recording = Recording.objects.get()
    assert (recording.kind, recording.status, recording.received) == ("reply", "awaited", 0)
    assert (recording.session.pk, recording.turn_id, recording.rate) == ("s1", "t1", 22050)


def test_a_recording_that_came_first_is_joined_to_its_session() -> None:
    write(RecordingRecord(project="ward", recording_id="r1", kind="audio"))
    write(session(recordings=["r1"]))
    assert Recording.objects.get().session == Session.objects.get()


def test_a_database_that_fails_takes_nothing_of_the_batch() -> None:
    def away(execute: Any, sql: str, *rest: Any) -> Any:
        if '"records_task"' in sql:
            raise OperationalError("the database is away")
        return execute(sql, *rest)

    with connection.execute_wrapper(away), pytest.raises(OperationalError):
        write(session(), COMPLETE)
    assert not Session.objects.exists()
    write(session(), COMPLETE)
    assert Turn.objects.get().status == "completed"


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
def test_text_that_a_database_can_t_store_is_recorded_all_the_same(text: str) -> None:
    write(session(source=text), turn(transcript=text, stages=[stage(output={"text": [text]})]))
    assert Session.objects.get().source == Turn.objects.get().transcript == "a\ufffdb"
    assert Task.objects.get().output == {"text": ["a\ufffdb"]}


@pytest.mark.parametrize(
    "bad",
    [
        RecordingRecord(project="ward", recording_id="r1", kind="audio", position=2**63 + 5),
        RecordingRecord(project="ward", recording_id="r1", kind="audio", started_at=1e300),
        RecordingRecord(project="ward", recording_id="r1", kind="audio", started_at=-1e12),
        session(version=2**63),
    ],
)
def test_a_number_out_of_bounds_can_never_be_written(bad: AnyRecord) -> None:
    with pytest.raises(Unwritable) as caught:
        write(turn(), bad)
    assert "\n" not in str(caught.value)
    assert not Turn.objects.exists()


def test_what_is_the_same_in_the_next_snapshot_is_not_written_again() -> None:
    write(session(), COMPLETE)
    before = keys(Segment), keys(TimePoint)
    later = msgspec.structs.replace(
        COMPLETE, version=4, time_points=[*COMPLETE.time_points, TimePointRecord("audible", 0.6, "client")]
    )
    write(later)
    assert keys(Segment) == before[0]
    assert set(before[1]) < set(keys(TimePoint))
    assert snapshots.turn_record(Turn.objects.get()) == later
    fewer = msgspec.structs.replace(later, version=5, time_points=later.time_points[1:] * 2, segments=[])
    write(fewer)
    assert snapshots.turn_record(Turn.objects.get()) == fewer


def test_what_became_of_a_cell_is_told_in_the_transaction_that_records_it() -> None:
    told: list[CellRecord] = []

    def heard(record: CellRecord, **_: Any) -> None:
        assert connection.in_atomic_block
        told.append(record)

    signals.cell_written.connect(heard)
    cell = CellRecord(project="ward", cell="c1", session_id="s9", turns=[CalledRecord(index=0, voice_to_voice_s=-0.2)])
    Tombstone.objects.create(project_id="ward", kind="session", key="s9")
    write(session(), cell)
    assert told == [cell], "also when what was said in it is erased already"
    assert not Session.objects.filter(pk="s9").exists()


def test_a_database_that_answers_is_not_away() -> None:
    assert not recorder.is_away(OperationalError("too many SQL variables"))
    assert recorder.is_away(OperationalError("database or disk is full"))

    def gone(execute: Any, *rest: Any) -> Any:
        raise OperationalError("database is locked")

    with connection.execute_wrapper(gone):
        assert recorder.is_away(OperationalError("database is locked"))
