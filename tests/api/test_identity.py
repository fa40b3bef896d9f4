"""What a record knows about what made it is stored and given back, so that it can be run again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from django.db import IntegrityError, transaction

from api.support import Api
from openomni.api.accounts.models import Project
from openomni.api.records import recorder
from openomni.api.records.models import Build, Item, Session, Tag, Tagged, Task, Tombstone, Turn
from openomni.records import (
    AnyRecord,
    AttemptRecord,
    BuildRecord,
    FrameRecord,
    ItemRecord,
    PlacedRecording,
    RecordingRecord,
    SegmentRecord,
    SessionRecord,
    StageRecord,
    TurnRecord,
    UsageRecord,
    encode,
)

BUILD = BuildRecord.of(
    "home", kind="llm", component="llama-cpp", package="openomni", package_version="0.2.0",
    parameters={"model": "smollm2", "seed": 7}, libraries={"xllamacpp": "1"},
)  # fmt: skip
USAGE = UsageRecord(requests=1, input_tokens=12, cached_tokens=4, output_tokens=9, cost=0.001, currency="USD")


def turn(**fields: Any) -> TurnRecord:
    stage = StageRecord(
        task_id="k1", kind="llm", component="llama-cpp", status="completed", build=BUILD.build, seed=7, usage=USAGE,
        attempts=[AttemptRecord(number=1, agent="a", status="completed", build=BUILD.build, seed=7, usage=USAGE)],
    )  # fmt: skip
    known: dict[str, Any] = {
        "project": "home", "turn_id": "t1", "session_id": "s1", "index": 0, "pipeline": "local", "pipeline_hash": "h",
        "status": "completed", "utterance_hash": "u" * 64, "reruns": "t0", "origin": "replay", "live": False,
        "warm": True, "cell": "c1", "participant": "p-7", "language": "en", "outcome": "interrupted",
        "voice_to_voice_s": -0.25, "overlap_s": 0.5, "yield_s": 0.2, "items": ["system", "user:t0", "user:t1"],
        "frames": [FrameRecord(sha256="f" * 64, at=320, recording="r1")], "stages": [stage],
        "segments": [SegmentRecord("user", 0, 16000, track="r1", participant="p-7", confidence=0.9, source="vad")],
    }  # fmt: skip
    return TurnRecord(**{**known, **fields})


def item(**fields: Any) -> ItemRecord:
    known: dict[str, Any] = {
        "project": "home", "session_id": "s1", "item_id": "reply:t1", "position": 3, "role": "assistant",
        "content": "Rome is the capital", "turn_id": "t1",
    }  # fmt: skip
    return ItemRecord(**{**known, **fields})


def write(*records: AnyRecord) -> None:
    recorder.write_batch(records)


def test_a_turn_gives_back_all_that_is_needed_to_run_it_again(project: Project, admin: Api) -> None:
    write(turn())
    assert admin("GET", "/turns/t1") == msgspec.to_builtins(turn())


def test_a_session_gives_back_who_where_and_its_recordings_with_their_places(project: Project, admin: Api) -> None:
    record = SessionRecord(
        project="home", session_id="s1", pipeline="", pipeline_hash="", spec={}, origin="bench", participant="p-7",
        consent="recording", context="kitchen, two people", turn_taking={"end_of_turn_silence": 0.5},
        tracks=[PlacedRecording("r1", 0), PlacedRecording("v1", 4000)],
    )  # fmt: skip
    write(record)
    assert admin("GET", "/sessions/s1") == msgspec.to_builtins(record)


def test_a_build_is_kept_once_and_found_by_its_hash(project: Project, admin: Api) -> None:
    write(BUILD, BUILD)
    write(BUILD)
    assert Build.objects.count() == 1
    assert admin("GET", f"/builds/{BUILD.build}") == msgspec.json.decode(encode(BUILD))
    assert [each["build"] for each in admin("GET", "/builds?kind=llm")["items"]] == [BUILD.build]
    assert admin("GET", "/builds?kind=stt")["items"] == []


def test_the_same_build_in_two_projects_is_each_ones_own(
    project: Project, other_project: Project, stranger: Api
) -> None:
    write(BUILD)
    stranger.error("GET", f"/builds/{BUILD.build}", status=404)
    write(msgspec.structs.replace(BUILD, project="ward"))
    assert Build.objects.count() == 2


def test_an_item_is_kept_once_as_it_was_heard(project: Project, admin: Api) -> None:
    write(item(), item(item_id="user:t1", position=2, role="user", content="Italy?"))
    write(item(version=2, content="Rome is"))
    write(item(version=1))
    assert [(each["item_id"], each["content"]) for each in admin("GET", "/sessions/s1/items")] == [
        ("user:t1", "Italy?"),
        ("reply:t1", "Rome is"),
    ]
    assert Item.objects.count() == 2


@pytest.mark.parametrize(("kind", "key"), [("session", "s1"), ("turn", "t1"), ("recording", "r1")])
def test_what_was_erased_does_not_come_back_with_a_late_record(project: Project, kind: str, key: str) -> None:
    Tombstone.objects.create(project=project, kind=kind, key=key)
    late: list[AnyRecord] = [
        SessionRecord(project="home", session_id="s1", pipeline="", pipeline_hash="", spec={}),
        turn(recording="r1"),
        RecordingRecord(project="home", recording_id="r1", kind="audio", session_id="s1", turn_id="t1"),
        item(recording="r1"),
    ]
    about = {"session": "session_id", "turn": "turn_id", "recording": "recording_id"}[kind]
    write(*(record for record in late if getattr(record, about, "") == key))
    assert not Turn.objects.exists()
    assert not Item.objects.exists()
    assert not Session.objects.filter(recorded__isnull=False).exists()


def test_a_tombstone_of_another_project_buries_nothing_of_ours(project: Project, other_project: Project) -> None:
    Tombstone.objects.create(project=other_project, kind="session", key="s1")
    write(turn())
    assert Turn.objects.count() == 1


def test_a_task_is_of_a_turn_or_of_a_session_and_never_of_both_or_none(project: Project, admin: Api) -> None:
    write(turn())
    session = Session.objects.get(pk="s1")
    Task.objects.create(project=project, session=session, task_id="judge", kind="llm", component="llama-cpp")
    tasks = {each["task_id"]: each for each in admin("GET", "/tasks")["items"]}
    assert (tasks["judge"]["turn_id"], tasks["judge"]["session_id"]) == ("", "s1")
    for fields in ({}, {"session": session, "turn": Turn.objects.get(pk="t1")}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Task.objects.create(project=project, task_id="x", kind="llm", component="x", **fields)


def test_a_tag_is_a_label_or_a_group_with_places(project: Project) -> None:
    write(turn(), turn(turn_id="t2", index=1))
    group = Tag.objects.create(project=project, name="debate", ordered=True)
    for place, key in enumerate(("t2", "t1")):
        Tagged.objects.create(project=project, tag=group, turn_id=key, place=place)
    assert [each.turn_id for each in group.members.all()] == ["t2", "t1"]
    for wrong in (
        {"turn_id": "t1", "place": 5},
        {"session_id": "s1", "place": 1},
        {"turn_id": "t1", "session_id": "s1"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Tagged.objects.create(project=project, tag=group, **wrong)
