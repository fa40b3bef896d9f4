"""What was being said when its agent or its gateway was gone: one turn, from the recording, unless it was answered."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.utils import timezone

from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.queue import rescue
from openomni.api.queue.models import QueuedWork
from openomni.api.records.models import Session, Turn
from openomni.api.records.recorder import write_batch
from openomni.bus.envelope import TurnWork, Work, found_turn
from openomni.pipeline.spec import builtin
from openomni.records import (
    AnyRecord,
    BrokenOffRecord,
    RecordingRecord,
    SegmentRecord,
    SessionRecord,
    TurnRecord,
)

LOCAL = builtin()["local"]


@pytest.fixture
def device(project: Project) -> Api:
    return api_for(project, Scope.AGENT)


def session(status: Any = "lost", version: int = 2, **fields: Any) -> SessionRecord:
    return SessionRecord(project="home", session_id="s1", pipeline="local", pipeline_hash=LOCAL.hash, version=version,
                         spec=LOCAL.normalised(), status=status, recordings=["r1"], ended_at=1_740_000_100.0,
                         **fields)  # fmt: skip


def turn(turn_id: str, start: int, end: int, **fields: Any) -> TurnRecord:
    known: dict[str, Any] = {"index": 0, "recording": "r1", "started_at": 1_740_000_000.0}
    known["segments"] = [SegmentRecord("user", start, end)] if end > start else []
    return TurnRecord(project="home", turn_id=turn_id, session_id="s1", pipeline="local", pipeline_hash=LOCAL.hash,
                      **known | fields)  # fmt: skip


def lost(turn_id: str, start: int, end: int, **fields: Any) -> TurnRecord:
    return turn(turn_id, start, end, **{"status": "failed", "outcome": "lost", "version": 2, **fields})


def broken_off(turn_id: str, start: int, heard_to: int = 0, **fields: Any) -> BrokenOffRecord:
    return BrokenOffRecord(project="home", session_id="s1", turn_id=turn_id, recording="r1", start=start,
                           heard_to=max(start, heard_to), reason="its agent is gone", **fields)  # fmt: skip


def uploaded(device: Api, position: int = 0) -> None:
    device("PUT", "/recordings/r1", {"media_type": "audio/wav", "session_id": "s1"})
    device("PATCH", "/recordings/r1?offset=0", b"sound")
    device("POST", "/recordings/r1/complete", {"sha256": hashlib.sha256(b"sound").hexdigest(), "size": 5})
    if position:
        write_batch([RecordingRecord(project="home", recording_id="r1", kind="audio", position=position)])


def released() -> list[TurnWork]:
    rescue.release_due()
    rows = QueuedWork.objects.filter(waits=False, handed_at=None).order_by("place")
    return [TurnWork.of(msgspec.convert(row.work, Work)) for row in rows]


def turns() -> list[tuple[str, str, str]]:
    return list(Turn.objects.order_by("index", "pk").values_list("pk", "status", "outcome"))


@pytest.mark.parametrize("told", ["by-its-host", "by-the-gateway", "by-both", "by-the-end-of-its-session"])
def test_an_utterance_that_nobody_answered_is_run_once_as_the_turn_that_it_is(device: Api, told: str) -> None:
    records: dict[str, list[AnyRecord]] = {
        "by-its-host": [lost("t1", 16_000, 32_000), session()],
        "by-the-gateway": [broken_off("t1", 16_000, 32_000), session()],
        "by-both": [lost("t1", 16_000, 32_000), broken_off("t1", 16_000), session()],
        "by-the-end-of-its-session": [turn("t1", 16_000, 32_000), session()],
    }
    write_batch(records[told])
    uploaded(device)
    (body,) = released()
    assert (body.turn_id, body.start, body.heard_to, body.end) == ("t1", 1.0, 2.0, -1.0)
    assert (body.segment, body.rescued, body.recording, body.pipeline) == (True, True, "r1", "local")
    QueuedWork.objects.update(handed_at=timezone.now())
    write_batch(records[told])
    assert released() == []

    write_batch([turn("t1", 15_000, 40_000, status="pending", version=2)])
    (body,) = released()
    assert (body.turn_id, body.segment, body.rescued) == ("t1", False, True)
    assert (body.start, body.end) == (15_000 / 16_000, 2.5)
    write_batch([turn("t1", 15_000, 40_000, status="completed", outcome="answered", version=3, live=False)])
    write_batch([lost("t1", 16_000, 32_000, version=9)])
    assert turns() == [("t1", "completed", "answered")]
    assert not QueuedWork.objects.exists()


def test_it_waits_for_the_end_of_the_session_and_for_the_recording(device: Api) -> None:
    write_batch([session("open", 1), lost("t1", 16_000, 32_000)])
    uploaded(device)
    assert released() == []
    write_batch([session()])
    Session.objects.update(ended_at=timezone.now() - timedelta(seconds=rescue.QUIET_SECONDS / 2))
    assert released() == [], "somebody may come back to it"
    Session.objects.update(ended_at=timezone.now() - timedelta(seconds=rescue.QUIET_SECONDS * 2))
    assert [body.turn_id for body in released()] == ["t1"]
    assert turns() == [("t1", "pending", "")]
    write_batch([session(version=3)])
    assert turns() == [("t1", "pending", "")], "that its session is over ends no turn that is to be run"


def test_without_the_recording_it_stays_lost(device: Api) -> None:
    write_batch([lost("t1", 16_000, 32_000), session()])
    assert released() == []
    assert turns() == [("t1", "failed", "lost")]


def test_what_somebody_answered_meanwhile_is_not_run(device: Api) -> None:
    write_batch([lost("t1", 16_000, 32_000), turn("t1", 16_000, 33_000, status="completed", version=9), session()])
    uploaded(device)
    assert released() == []
    assert not QueuedWork.objects.exists()


def test_what_was_answered_as_another_turn_is_superseded(device: Api) -> None:
    answered = turn("t2", 15_500, 31_000, index=1, status="completed", outcome="answered", version=3)
    write_batch([lost("t1", 16_000, 32_000), answered, session()])
    uploaded(device)
    assert released() == []
    assert turns() == [("t1", "superseded", ""), ("t2", "completed", "answered")]
    assert "turn t2 answers it" in Turn.objects.get(pk="t1").reason


def test_it_is_looked_for_up_to_the_next_turn_or_to_where_somebody_hears_again(device: Api) -> None:
    following = turn("t3", 64_000, 80_000, index=2, status="completed", version=3)
    before = turn("t0", 1000, 9000, status="completed", version=3)
    uploaded(device)
    write_batch([before, lost("t1", 16_000, 32_000, index=1), following, session()])
    (body,) = released()
    assert (body.end, body.after, body.index) == (4.0, "t0", 1)
    QueuedWork.objects.all().delete()
    write_batch([broken_off("t4", 90_000, end=100_000)])
    (body,) = released()
    assert (body.start, body.end, body.after, body.index) == (5.625, 6.25, "t3", 3)


def test_a_recording_that_begins_later_than_its_session_is_looked_into_at_its_own_time(device: Api) -> None:
    write_batch([broken_off("t1", 48_000, 64_000), session()])
    uploaded(device, position=32_000)
    (body,) = released()
    assert (body.start, body.heard_to, body.position) == (1.0, 2.0, 32_000)
    write_batch([turn("t1", 47_000, 66_000, status="pending", version=2)])
    (body,) = released()
    assert (body.start, body.position) == (15_000 / 16_000, 32_000)


@pytest.mark.parametrize("overlaps", [False, True])
def test_of_what_is_found_that_is_left_out_which_another_turn_holds(device: Api, overlaps: bool) -> None:
    gap = "0" * 32
    write_batch([broken_off(gap, 16_000), session()])
    uploaded(device)
    (body,) = released()
    assert (body.turn_id, body.heard_to) == (gap, 1.0)
    QueuedWork.objects.update(handed_at=timezone.now())
    if overlaps:  # told by its host while it was looked for
        write_batch([turn("t2", 20_000, 40_000, index=1, status="completed", version=3)])
    second = found_turn(gap, 1)
    write_batch([turn(key, start, start + 20_000, index=place, status="pending", version=2, started_at=0.0)
                 for place, (key, start) in enumerate([(gap, 20_000), (second, 64_000)])])  # fmt: skip
    assert {key for key, _, _ in turns()} == ({"t2", second} if overlaps else {gap, second})
    assert [each.turn_id for each in released()] == [second if overlaps else gap]


def test_where_nothing_was_said_there_is_no_turn(device: Api) -> None:
    write_batch([broken_off("t1", 16_000), session()])
    uploaded(device)
    assert len(released()) == 1
    nothing = turn("t1", 0, 0, status="cancelled", outcome="dismissed", version=2, live=False)
    for _ in range(2):
        write_batch([nothing])
        assert turns() == []
    assert not QueuedWork.objects.exists()


def test_a_reply_that_was_given_in_part_ends_its_turn_and_is_not_said_again(device: Api) -> None:
    given = broken_off("t1", 16_000, 32_000, given=True, transcript="what?", reply_text="Well")
    write_batch([turn("t1", 16_000, 32_000, participant="P7"), given, session()])
    uploaded(device)
    assert released() == []
    row = Turn.objects.get()
    assert (row.status, row.outcome, row.interrupted) == ("failed", "interrupted", True)
    assert (row.transcript, row.reply_text, row.participant) == ("what?", "Well", "P7")
    write_batch([turn("t1", 16_000, 32_000, status="completed", outcome="interrupted", version=4, reply_text="Well…")])
    write_batch([given])
    assert Turn.objects.get().reply_text == "Well…", "its host lived to say more"


def test_a_reply_is_told_of_whose_turn_never_came(device: Api) -> None:
    write_batch([session(), broken_off("t1", 16_000, 32_000, given=True, transcript="what?")])
    (segment,) = Turn.objects.get().segments.all()
    assert (segment.start, segment.end, turns()) == (16_000, 32_000, [("t1", "failed", "interrupted")])
