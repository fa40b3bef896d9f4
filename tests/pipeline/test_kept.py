"""What is kept of a conversation: all that a turn needs to be run again, and to be paired with others."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

import virtual_time
from openomni import clock
from openomni.bus.sessions import UnfinishedUtterance
from openomni.events import (
    AXIS_RATE,
    AudioEnd,
    ItemGone,
    ItemIn,
    Message,
    PictureIn,
    Respond,
    SessionInput,
    TextIn,
    TurnDone,
)
from openomni.media import Frame
from openomni.pipeline.account import HeardPlayback
from openomni.pipeline.begun_before import BegunBefore
from openomni.pipeline.earlier import Earlier
from openomni.pipeline.replies import LAST_REPORT_SECONDS, Replies
from openomni.records import ItemRecord, SegmentRecord, SessionRecord, TurnRecord, decode, encode
from pipeline.scripted import ScriptedRunner
from pipeline.test_session import Dialogue, hold, one_question

JPEG = Frame(np.full((16, 16, 3), 90, np.uint8)).jpeg()


def snapshots(dialogue: Dialogue) -> list[TurnRecord]:
    return [record for record in dialogue.records if isinstance(record, TurnRecord)]


def items(dialogue: Dialogue) -> list[ItemRecord]:
    """The newest of each item, in the conversation's order."""
    newest: dict[str, ItemRecord] = {}
    for record in dialogue.records:
        if isinstance(record, ItemRecord):
            assert record.item_id not in newest or newest[record.item_id].version < record.version
            newest[record.item_id] = record
    return sorted(newest.values(), key=lambda record: record.position)


def test_a_turn_is_kept_twice_as_it_was_decided_and_as_it_was_heard() -> None:
    dialogue = hold(Dialogue(responder_delay=0.03), one_question)
    decided, ended = snapshots(dialogue)
    assert (decided.status, decided.outcome, ended.status, ended.outcome) == ("started", "", "completed", "answered")
    assert decided.version < ended.version
    assert ended.heard_at == "client"
    assert any(point.name == "playback_ended" for point in ended.time_points)
    told = [decode(event.record) for event in dialogue.events(TurnDone)]
    assert len(told) >= 2, "the live plane is told at once, and again with what was heard"


def test_every_record_can_be_read_back_within_bounds() -> None:
    for record in hold(Dialogue(responder_delay=0.03), one_question).records:
        assert decode(encode(record)) == record


def test_a_turn_says_what_pairs_it_with_others() -> None:
    opening = {"participant": "P07", "consent": "c1", "context": "ward 3, tea", "cell": "e1-4", "position": 320}
    dialogue = hold(Dialogue(settings={"silence": 0.3}, opening=opening), one_question)
    (turn,) = dialogue.turns()
    (heard,) = (values for kind, values in dialogue.runner.seen if kind == "stt")
    said: Any = heard[0]
    assert turn.utterance_hash == hashlib.sha256(said.audio.pcm16()).hexdigest()
    assert (turn.origin, turn.live, turn.warm, turn.cell, turn.participant) == ("person", True, True, "e1-4", "P07")
    (segment,) = turn.segments
    assert (segment.track, segment.participant, segment.source) == ("r1", "P07", "vad")
    session = next(record for record in dialogue.records if isinstance(record, SessionRecord))
    assert (session.participant, session.consent, session.context) == ("P07", "c1", "ward 3, tea")
    assert session.turn_taking == {"silence": 0.3}
    assert [(track.recording, track.position) for track in session.tracks] == [("r1", 320)]


def test_each_task_says_what_it_ran_on_and_what_it_consumed() -> None:
    (turn,) = hold(Dialogue(), one_question).turns()
    stages = {stage.kind: stage for stage in turn.stages if stage.status == "completed"}
    assert {kind: stage.build for kind, stage in stages.items()} == {
        kind: f"build of {kind}" for kind in ("stt", "llm", "tts")
    }
    usage = {kind: stage.usage for kind, stage in stages.items()}
    assert all(stage.usage == stage.attempts[0].usage for stage in stages.values())
    assert usage["stt"] is not None
    assert usage["llm"] is not None
    assert usage["tts"] is not None
    assert (usage["stt"].requests, usage["stt"].characters) == (1, len("what is the time"))
    assert usage["stt"].seconds_in == pytest.approx(1.3, abs=0.1)
    assert (usage["llm"].requests, usage["llm"].characters) == (1, len("It is noon. Have a good day. "))
    assert (usage["tts"].requests, usage["tts"].seconds_out) == (2, pytest.approx(1.0))
    assert usage["tts"].characters == len("It is noon.") + len("Have a good day.")


@pytest.mark.parametrize(
    ("opening", "origin"),
    [({"source": "mic"}, "person"), ({"source": "file:a.wav"}, "replay"), ({"origin": "bench"}, "bench"),
     ({"origin": "whatever"}, "person")],
)  # fmt: skip
def test_the_origin_is_as_the_session_was_opened(opening: dict[str, str], origin: str) -> None:
    assert hold(Dialogue(opening=opening), one_question).turns()[0].origin == origin


def test_what_was_typed_is_a_turn_of_its_own_origin_and_hash() -> None:
    async def type_it(dialogue: Dialogue) -> None:
        dialogue.inputs.put_nowait(TextIn("What is the tíme?"))
        await asyncio.sleep(3.0)
        dialogue.inputs.put_nowait(AudioEnd())

    (turn,) = hold(Dialogue(), type_it).turns()
    assert turn.origin == "text"
    assert turn.utterance_hash == hashlib.sha256("What is the tíme?".encode()).hexdigest()
    assert turn.segments == []


def test_how_long_both_spoke_and_how_soon_the_reply_yielded() -> None:
    runner = ScriptedRunner(llm_delay=0.02, reply="It is noon. Have a good day. And this goes on. And on. And on.")
    first, second = hold(Dialogue(runner), interrupt_while_heard).turns()
    assert (first.outcome, second.outcome) == ("interrupted", "answered")
    assert first.overlap_s is not None
    assert first.yield_s is not None
    # It is noticed after the shortest speech that counts: 96 ms, in windows of 32 ms and frames of 20 ms.
    assert first.yield_s == pytest.approx(0.12, abs=0.06)
    assert first.overlap_s == pytest.approx(first.yield_s, abs=1e-6)
    assert (second.overlap_s, second.yield_s) == (None, None)


async def interrupt_while_heard(dialogue: Dialogue) -> None:
    await dialogue.speak(1.0)
    await dialogue.be_silent(1.2)
    await one_question(dialogue)


@pytest.mark.parametrize(
    ("runner", "outcome"),
    [
        (ScriptedRunner(), "answered"),
        (ScriptedRunner(transcript=""), "unanswered"),
        (ScriptedRunner(fail="llm"), "failed"),
    ],
    ids=["answered", "unanswered", "failed"],
)  # fmt: skip
def test_what_became_of_a_turn(runner: ScriptedRunner, outcome: str) -> None:
    assert hold(Dialogue(runner), one_question).turns()[0].outcome == outcome


async def broken_off(dialogue: Dialogue, script: Any) -> None:
    """The script's input comes, and then the line is lost."""

    async def inputs() -> AsyncIterator[SessionInput]:
        await script(dialogue)
        while not dialogue.inputs.empty():
            yield dialogue.inputs.get_nowait()
        raise ConnectionError

    with contextlib.suppress(ExceptionGroup):
        await dialogue.session().run(inputs())


def test_what_was_being_said_when_the_line_was_lost_is_a_failed_turn_with_its_place() -> None:
    async def cut_off(dialogue: Dialogue) -> None:
        await dialogue.be_silent(0.5)
        await dialogue.speak(1.0)

    dialogue = Dialogue()
    virtual_time.run(broken_off(dialogue, cut_off))
    (turn,) = dialogue.turns()
    assert (turn.status, turn.outcome, turn.transcript) == ("failed", "lost", "")
    assert "before it was answered" in turn.reason
    (segment,) = turn.segments
    assert (segment.start, segment.end) == (
        pytest.approx(0.5 * AXIS_RATE, abs=512), pytest.approx(1.5 * AXIS_RATE, abs=512),
    )  # fmt: skip
    assert turn.recording == "r1"
    session = [record for record in dialogue.records if isinstance(record, SessionRecord)]
    assert session[-1].status == "lost"


def test_a_turn_that_was_decided_and_not_answered_when_the_line_was_lost_is_no_completed_one() -> None:
    async def cut_off(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(0.5)

    dialogue = Dialogue(ScriptedRunner(stt_delay=3.0))
    virtual_time.run(broken_off(dialogue, cut_off))
    (turn,) = dialogue.turns()
    assert (turn.status, turn.outcome) == ("failed", "lost")


def lose_the_line(runner: ScriptedRunner, wait: float, noticed_after: float) -> TurnRecord:
    """A question; `wait` seconds after it the line is lost, which is noticed so much later."""

    class LineLost(ConnectionError):
        since = 0.0

    async def inputs(dialogue: Dialogue) -> AsyncIterator[SessionInput]:
        await dialogue.speak(1.0)
        await dialogue.be_silent(0.7)
        while not dialogue.inputs.empty():
            yield dialogue.inputs.get_nowait()
        await asyncio.sleep(wait)
        LineLost.since = clock.now()
        await asyncio.sleep(noticed_after)
        raise LineLost

    dialogue = Dialogue(runner)

    async def main() -> None:
        with contextlib.suppress(ExceptionGroup):
            await dialogue.session().run(inputs(dialogue))

    virtual_time.run(main())
    (turn,) = dialogue.turns()
    return turn


LONG = "It is noon. Have a good day. And this goes on. And on. And on. And on."


@pytest.mark.parametrize("noticed_after", [0.0, 10.0])
def test_a_reply_of_which_the_line_carried_a_part_was_interrupted(noticed_after: float) -> None:
    turn = lose_the_line(ScriptedRunner(llm_delay=0.2, reply=LONG), 0.8, noticed_after)
    assert (turn.status, turn.outcome, turn.interrupted, turn.live) == ("completed", "interrupted", True, True)
    assert "while it was answered" in turn.reason
    assert turn.reply_audio


def test_a_reply_of_which_the_line_carried_nothing_could_not_be_heard() -> None:
    turn = lose_the_line(ScriptedRunner(stt_delay=2.0), 0.1, 10.0)
    assert (turn.status, turn.outcome, turn.live, turn.voice_to_voice_s) == ("completed", "answered", False, None)


def test_who_hears_an_utterance_again_that_another_host_left_answers_it_as_the_turn_that_it_is() -> None:
    said = TurnRecord(project="p", turn_id="t", session_id="s1", index=1, pipeline="scripted", pipeline_hash="",
                      segments=[SegmentRecord("user", 8000, 24_000)])  # fmt: skip
    earlier = Earlier.of([said], {"t"})
    opening = {"unfinished": [UnfinishedUtterance("t", 8000, 24_000)]}
    dialogue = hold(Dialogue(settings={"resumed": True}, opening=opening, earlier=earlier), one_question)
    (turn,) = dialogue.turns()
    assert (turn.turn_id, turn.index, turn.outcome) == ("t", 0, "answered")
    assert turn.version > 10**9, "what the first host still records of it is older"


@pytest.mark.parametrize(
    ("start", "end", "heard", "same"),
    [(8000, 24_000, 7000, True), (8000, 24_000, 20_000, True), (8000, 24_000, 24_000, False),
     (8000, None, 90_000, True), (8000, None, 900_000, False), (80_000, None, 8000, False)],
)  # fmt: skip
def test_which_utterance_is_one_that_was_begun_before(start: int, end: int | None, heard: int, same: bool) -> None:
    before = BegunBefore([UnfinishedUtterance("t", start, end)])
    assert (before.turn_of(heard) == "t") == same
    assert before.turn_of(heard) != "t", "there is one of it"


# ---- items -----------------------------------------------------------------------------------------------------------


def test_each_item_is_kept_once_and_a_turn_names_those_that_its_model_got() -> None:
    async def two(dialogue: Dialogue) -> None:
        await dialogue.speak(1.0)
        await dialogue.be_silent(4.0)
        await one_question(dialogue)

    dialogue = hold(Dialogue(), two)
    first, second = dialogue.turns()
    own, reply = f"user:{first.turn_id}", f"reply:{first.turn_id}"
    assert first.items == [own]
    assert second.items == [own, reply, f"user:{second.turn_id}"]
    kept = items(dialogue)
    assert [(item.item_id, item.role, item.turn_id) for item in kept[:2]] == [
        (own, "user", first.turn_id), (reply, "assistant", first.turn_id),
    ]  # fmt: skip
    assert [item.content for item in kept[:2]] == ["what is the time", "It is noon. Have a good day."]
    assert (kept[0].recording, kept[0].start, kept[0].end) == (
        "r1", first.segments[0].start, first.segments[0].end,
    )  # fmt: skip
    assert kept[1].recording == first.reply_audio
    assert len([record for record in dialogue.records if isinstance(record, ItemRecord)]) == 4


def test_an_item_is_kept_as_it_was_heard() -> None:
    runner = ScriptedRunner(llm_delay=0.02, reply="It is noon. Have a good day. And this goes on. And on. And on.")
    dialogue = hold(Dialogue(runner), interrupt_while_heard)
    reply = next(item for item in items(dialogue) if item.role == "assistant")
    assert reply.content
    assert len(reply.content) < len(runner.reply)
    assert runner.reply.startswith(reply.content.rstrip("."))


def test_what_a_client_puts_into_a_conversation_is_kept_and_what_leaves_it_is_marked() -> None:
    async def put(dialogue: Dialogue) -> None:
        dialogue.inputs.put_nowait(ItemIn("i1", Message("system", "Be brief.")))
        dialogue.inputs.put_nowait(ItemIn("i2", Message("user", "Look.", (Frame.from_jpeg(JPEG),))))
        dialogue.inputs.put_nowait(Respond())
        await asyncio.sleep(5.0)
        dialogue.inputs.put_nowait(ItemGone("i1"))
        dialogue.inputs.put_nowait(AudioEnd())

    dialogue = hold(Dialogue(), put)
    (turn,) = dialogue.turns()
    assert turn.items == ["i1", f"user:{turn.turn_id}"]
    assert [(frame.sha256, frame.recording) for frame in turn.frames] == [(hashlib.sha256(JPEG).hexdigest(), "")]
    kept = {item.item_id: item for item in items(dialogue)}
    assert (kept["i1"].content, kept["i1"].gone, kept["i1"].turn_id) == ("Be brief.", True, "")
    assert kept[f"user:{turn.turn_id}"].pictures[0].sha256 == hashlib.sha256(JPEG).hexdigest()
    assert "i2" not in kept, "it became what the person said"


def test_a_session_that_is_taken_over_goes_on_naming_what_was_said() -> None:
    said = TurnRecord(project="p", turn_id="t", session_id="s1", index=4, pipeline="scripted", pipeline_hash="",
                      transcript="I am Ada.", reply_text="Hello Ada.")  # fmt: skip
    dialogue = hold(Dialogue(settings={"resumed": True}, earlier=Earlier.of([said])), one_question)
    (turn,) = dialogue.turns()
    assert turn.items == ["user:t", "reply:t", f"user:{turn.turn_id}"]
    assert all(item.turn_id == turn.turn_id and item.version > 10**9 for item in items(dialogue))


# ---- pictures --------------------------------------------------------------------------------------------------------

SEEING = {"name": "seeing", "stages": [{"stt": "simulated"}, {"llm": "simulated", "frames": 2}, {"tts": "simulated"}]}


@pytest.fixture
def seeing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.test_session.SPEC", SEEING)


def test_one_broken_picture_costs_itself_alone_and_only_those_that_are_used_are_decoded(
    seeing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openomni import jpeg

    decoded: list[bytes] = []
    whole = jpeg.decode

    def decode_it(data: bytes) -> Any:
        decoded.append(data)
        return whole(data)

    monkeypatch.setattr(jpeg, "decode", decode_it)
    header_of_another = bytearray(JPEG)
    at = JPEG.index(b"\xff\xc0")
    header_of_another[at + 5 : at + 9] = (4000).to_bytes(2, "big") * 2

    async def look(dialogue: Dialogue) -> None:
        await dialogue.be_silent(0.5)
        for _ in range(9):
            dialogue.inputs.put_nowait(PictureIn(dialogue.position, JPEG))
            await dialogue.speak(0.1)
        dialogue.inputs.put_nowait(PictureIn(dialogue.position - 100, bytes(header_of_another)))
        dialogue.inputs.put_nowait(PictureIn(dialogue.position - 50, b"no picture"))
        await dialogue.speak(0.1)
        await dialogue.be_silent(3.0)
        dialogue.inputs.put_nowait(AudioEnd())

    dialogue = hold(Dialogue(), look)
    (turn,) = dialogue.turns()
    assert turn.outcome == "answered"
    (frame,) = turn.frames
    assert (frame.recording, frame.sha256) == ("r1", hashlib.sha256(JPEG).hexdigest())
    assert 0.5 * AXIS_RATE < frame.at < 1.5 * AXIS_RATE
    (prompt,) = [values[0] for kind, values in dialogue.runner.seen if kind == "llm"]
    assert [image.jpeg() for image in prompt.messages[-1].images] == [JPEG]  # type: ignore[union-attr]
    assert len(decoded) <= 2 * len(turn.stages)


def test_a_broken_picture_of_the_client_fails_no_later_turn() -> None:
    broken = bytearray(JPEG)
    at = JPEG.index(b"\xff\xc0")
    broken[at + 5 : at + 9] = (4000).to_bytes(2, "big") * 2

    async def put(dialogue: Dialogue) -> None:
        images = (Frame.from_jpeg(bytes(broken)), Frame.from_jpeg(JPEG))
        dialogue.inputs.put_nowait(ItemIn("i1", Message("user", "Look.", images)))
        await one_question(dialogue)

    dialogue = hold(Dialogue(), put)
    (prompt,) = [values[0] for kind, values in dialogue.runner.seen if kind == "llm"]
    assert [image.jpeg() for message in prompt.messages for image in message.images] == [JPEG]  # type: ignore[union-attr]


def test_a_records_older_form_is_still_read() -> None:
    """Of a host of an earlier version: what is new has its default."""
    old = {"type": "turn", "project": "p", "turn_id": "t", "session_id": "s", "index": 0, "pipeline": "x",
           "pipeline_hash": "h", "segments": [{"speaker": "user", "start": 1, "end": 2}],
           "stages": [{"task_id": "a", "kind": "stt", "component": "c",
                       "attempts": [{"number": 1, "agent": "a", "status": "completed"}]}]}  # fmt: skip
    turn = decode(msgspec.json.encode(old))
    assert isinstance(turn, TurnRecord)
    assert (turn.outcome, turn.items, turn.stages[0].usage, turn.stages[0].attempts[0].build) == ("", [], None, "")


def test_the_hash_is_that_of_the_sound_wherever_it_is_said_again() -> None:
    first, second = (hold(Dialogue(), one_question).turns()[0].utterance_hash for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("interrupted", "ended", "until"),
    [(True, False, 5.0 + LAST_REPORT_SECONDS), (True, True, 0.0), (True, None, 0.0)],
)
def test_of_a_reply_that_was_cut_the_last_report_is_waited_for(
    interrupted: bool, ended: bool | None, until: float
) -> None:
    """A responder that heard of it says where it fell silent; one that never began has nothing to say."""
    heard = (
        None if ended is None else HeardPlayback(started=4.0, audible=4.0, seconds=1.0, ended=ended, uncertainty=0.0)
    )
    account = SimpleNamespace(
        interrupted=interrupted, interrupted_at=5.0, heard=heard,
        turn=SimpleNamespace(reply=SimpleNamespace(first_emitted=3.9)),
    )  # fmt: skip
    replies = Replies.__new__(Replies)
    assert replies._known_at(SimpleNamespace(account=account)) == until  # type: ignore[arg-type]
