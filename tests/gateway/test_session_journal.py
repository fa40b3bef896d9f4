"""What a gateway knows of a session that loses its host, or the gateway: told once, and to whoever goes on with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from openomni.events import (
    AXIS_RATE,
    Dismissed,
    Heard,
    ReplyEnd,
    ReplySound,
    ReplyText,
    SessionOutput,
    SpeechStarted,
    SpeechStopped,
    TurnDone,
)
from openomni.gateway import session_journal
from openomni.gateway.access import ResolvedPipeline
from openomni.gateway.held_session import HeldSession, SessionPlan
from openomni.gateway.session_journal import SessionJournal
from openomni.records import AnyRecord, BrokenOffRecord, SessionRecord
from openomni.storage.spool import wav_header

SOUND = ReplySound("t1", 16_000, 0, 0.0, bytes(3200))
ASKED = (SpeechStarted("t1", 1000), SpeechStopped("t1", 5000, 1000), Heard("t1", "what?", True))


def plan(**fields: str) -> SessionPlan:
    known = {
        "session_id": "s1", "project": "home", "site": "", "room": "-", "device": "", "made_by": "t1", "source": "mic",
        "recording": "r1",
    }  # fmt: skip
    pipeline = ResolvedPipeline("local", "abc", {"name": "local"})
    return SessionPlan(pipeline=pipeline, needs=(("stt", "x"), ("tts", "y")), **known | fields)  # type: ignore[arg-type]


def heard(*outputs: SessionOutput, written: bool = False) -> HeldSession:
    held = HeldSession(plan())
    for output in outputs:
        held.note(output, written)
    return held


def test_what_is_answered_is_forgotten_and_what_is_not_is_heard_again() -> None:
    done = heard(*ASKED, SOUND, ReplyEnd("t1", "completed"), TurnDone("t1", b""))
    assert (done.answered, done.unfinished) == (5000, [])
    done.note(SpeechStarted("t2", 9000), False)
    assert (done.answered, [each.turn_id for each in done.unfinished]) == (5000, ["t2"])
    done.note(SpeechStopped("t2", 12_000, 4000), False)
    assert done.answered == 4000, "what goes on with the utterance before it is heard from there on"


def test_what_went_along_with_a_reply_is_not_heard_again() -> None:
    held = heard(*ASKED, SOUND, ReplyEnd("t1", "completed"), TurnDone("t1", b""), Dismissed("t1", 7000, 8000))
    assert held.answered == 8000


@pytest.mark.parametrize(
    ("said", "written", "given"),
    [((), False, False), ((ReplyText("t1", "Well"),), False, False), ((ReplyText("t1", "Well"),), True, True),
     ((ReplyText("t1", "Well"), SOUND), False, True)],
    ids=["nothing", "words-before-their-sound", "words-that-are-read", "sound"],
)  # fmt: skip
def test_a_reply_that_was_given_in_part_is_over_and_any_other_is_not(
    said: tuple[SessionOutput, ...], written: bool, given: bool
) -> None:
    held = heard(*ASKED, *said, written=written)
    over = list(held.host_gone("its agent is gone"))
    assert [each.turn_id for each in held.unfinished] == ([] if given else ["t1"])
    assert [(each.given, each.transcript, each.reply_text) for each in over] == [(True, "what?", "Well")] * given
    assert held.answered == (5000 if given else 0)


def test_of_a_session_that_nobody_goes_on_with_each_utterance_is_told_up_to_the_next() -> None:
    held = heard(*ASKED, SpeechStarted("t2", 9000))
    *said, session = held.lost("gone")
    assert isinstance(session, SessionRecord)
    assert session.status == "lost"
    assert [(each.turn_id, each.start, each.heard_to, each.end, each.given) for each in said] == [  # type: ignore[union-attr]
        ("t1", 1000, 5000, 9000, False), ("t2", 9000, 9000, None, False),
    ]  # fmt: skip


def test_where_nobody_told_of_an_utterance_the_last_seconds_may_hold_one() -> None:
    held = heard(*ASKED, SOUND, ReplyEnd("t1", "completed"), TurnDone("t1", b""))
    held.heard_to = 20 * AXIS_RATE
    (stretch, _), (again, _) = held.lost("gone"), held.lost("gone")
    assert isinstance(stretch, BrokenOffRecord)
    assert (stretch.start, stretch.heard_to, stretch.end) == (10 * AXIS_RATE, 10 * AXIS_RATE, None)
    assert isinstance(again, BrokenOffRecord)
    assert again.turn_id == stretch.turn_id, "the same place is the same turn"


def test_what_a_new_host_does_not_hear_again_is_told() -> None:
    held = heard(*ASKED)
    held.heard_to = 6000
    list(held.host_gone("gone"))
    (missed,) = held.heard_from(8000, "gone")
    assert (missed.turn_id, missed.start, missed.end) == ("t1", 1000, 8000)
    held = HeldSession(plan(), heard_to=6000)
    (gap,) = held.heard_from(16_000, "gone")
    assert (gap.start, gap.end) == (6000, 16_000)
    assert list(held.heard_from(6000, "gone")) == []


async def kept(journal: SessionJournal, file_count: int) -> None:
    async with asyncio.timeout(5):
        while len(list(journal._folder.glob("*.session"))) != file_count:
            await asyncio.sleep(0.001)


def journal(folder: Path, records: list[AnyRecord]) -> SessionJournal:
    return SessionJournal(folder / "sessions", folder / "recordings", records.append, lambda _: False)


async def test_the_next_gateway_knows_what_this_one_left_and_of_what_ended_nothing(tmp_path: Path) -> None:
    records: list[AnyRecord] = []
    first = journal(tmp_path, records)
    await first.__aenter__()
    first.keep(heard(*ASKED))
    await kept(first, 1)  # and the process is killed
    async with journal(tmp_path, records) as second:
        assert (second.answered("s1"), second.answered("s2")) == (0, None)
        stranger, _ = second.take(plan(device="another"))
        assert stranger.unfinished == []
        held, _ = second.take(plan())
        assert [(each.turn_id, each.start, each.end) for each in held.unfinished] == [("t1", 1000, 5000)]
        assert second.answered("s1") is None, "it goes on"
        second.forget("s1")
        await kept(second, 0)
    assert records == []
    await first.__aexit__()


async def test_a_session_that_nobody_comes_back_to_is_told_as_lost_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_journal, "COMES_BACK_SECONDS", 0.0)
    records: list[AnyRecord] = []
    async with journal(tmp_path, records) as running:
        running.leave(heard(*ASKED))
        async with asyncio.timeout(5):
            while len(records) < 2:
                await asyncio.sleep(0.01)
        await kept(running, 0)
    said, session = records
    assert isinstance(said, BrokenOffRecord)
    assert (said.turn_id, said.recording) == ("t1", "r1")
    assert isinstance(session, SessionRecord)
    async with journal(tmp_path, records):
        pass
    assert len(records) == 2


async def test_a_session_that_its_gateway_left_in_order_is_not_lost_and_what_was_being_said_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_journal, "COMES_BACK_SECONDS", 0.0)
    records: list[AnyRecord] = []
    async with journal(tmp_path, records) as first:
        left, silent = heard(*ASKED), HeldSession(plan(session_id="s2"), heard_to=20 * AXIS_RATE)
        left.closed = silent.closed = True
        first.keep(left), first.keep(silent)
        await asyncio.sleep(0)
    async with journal(tmp_path, records) as second:
        await kept(second, 0)
    (said,) = records
    assert isinstance(said, BrokenOffRecord)
    assert said.turn_id == "t1"


async def test_who_comes_back_to_a_session_that_was_left_in_order_has_it_open(tmp_path: Path) -> None:
    left = heard(*ASKED)
    left.closed = True
    async with journal(tmp_path, []) as first:
        first.keep(left)
    async with journal(tmp_path, []) as second:
        held, _ = second.take(plan())
    assert (held.closed, [each.turn_id for each in held.unfinished]) == (False, ["t1"])


async def test_what_was_recorded_here_and_not_answered_is_told_to_the_next_host(tmp_path: Path) -> None:
    records: list[AnyRecord] = []
    (tmp_path / "recordings").mkdir()
    pcm = (np.arange(40_000) % 1000).astype("<i2")
    (tmp_path / "recordings" / "r1.wav").write_bytes(wav_header(AXIS_RATE) + pcm.tobytes())
    first = journal(tmp_path, records)
    await first.__aenter__()
    held = heard(SpeechStarted("t1", 30_000))
    held.settled, held.position = 25_000, 5000
    first.keep(held)
    await kept(first, 1)
    async with journal(tmp_path, records) as second:
        found, sound = second.take(plan(recording="r2"))
    assert [each.turn_id for each in found.unfinished] == ["t1"]
    assert sound[0].position == 25_000
    assert b"".join(each.pcm for each in sound) == pcm[20_000:].tobytes()
    assert [each.position for each in sound[1:]] == [41_000]
    assert records == []
    await first.__aexit__()


async def test_a_file_that_can_not_be_read_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "x.session").write_bytes(b"{")
    async with journal(tmp_path, []) as running:
        assert running.answered("s1") is None
