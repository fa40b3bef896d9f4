"""From what was said, heard and recorded to figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openomni.bench import figures, kept
from openomni.bench.scenes import PlayedCall, Scene, Step
from openomni.client.caller.caller import SyntheticCaller
from openomni.client.caller.ear import HeardReply
from openomni.client.caller.measured import missing_blocks, stop_seconds, yield_seconds
from openomni.client.caller.room import SaidUtterance
from openomni.client.caller.utterance import SpokenUtterance
from openomni.client.listener.sources import BLOCK
from openomni.events import AXIS_RATE
from openomni.media import Audio

LENGTH = 2 * AXIS_RATE
SAID_AT = 100.0
"""Stamp of the session's first sample."""


def utterance(name: str = "question") -> SpokenUtterance:
    return SpokenUtterance(name, "voice", Audio.silence(2.0, AXIS_RATE), 0, LENGTH)


def said(position_s: float = 5.0, spoken: SpokenUtterance | None = None) -> SaidUtterance:
    start = SAID_AT + position_s
    return SaidUtterance(spoken or utterance(), round(position_s * AXIS_RATE), start, start + 2.0)


def turn(start_s: float, end_s: float, after: float = 0.3, **more: Any) -> dict[str, Any]:
    """A user turn of a stretch of the session, decided `after` seconds behind its end."""
    segment = {"speaker": "user", "start": round(start_s * AXIS_RATE), "end": round(end_s * AXIS_RATE)}
    return {
        "turn_id": "a", "status": "completed", "segments": [segment], "transcript": "", "reply_text": "",
        "time_points": [{"name": "end_of_turn", "at_s": after}], "parts": [], "stages": [],
        "voice_to_voice_s": 0.5, "residue_s": 0.01, **more,
    }  # fmt: skip


def scene(what: Any = "question", sounding: HeardReply | None = None) -> Scene:
    return Scene(Step(what, utterance(), "listen"), said(), sounding)


def called(*turns: dict[str, Any], **replies: HeardReply) -> SyntheticCaller:
    caller = SyntheticCaller(0)
    caller.turns, caller.replies = list(turns), replies
    return caller


def test_voice_to_voice_is_from_the_last_speech_sample_to_the_first_audible_one() -> None:
    row = figures.row(called(turn(5.05, 6.9), a=HeardReply("a", 107.5, audible=107.62)), scene())
    assert (row.voice_to_voice_s, row.cut, row.turns) == (pytest.approx(0.62), False, 1)
    assert row.host_voice_to_voice_s == 0.5


def test_a_turn_that_was_decided_before_the_speech_ended_is_a_false_cut() -> None:
    early, rest = turn(5.0, 5.8, 0.25, turn_id="x"), turn(6.3, 7.0, turn_id="a")
    row = figures.row(called(rest, early, a=HeardReply("a", 107.5, audible=107.7)), scene("paused"))
    assert (row.cut, row.turns, row.voice_to_voice_s) == (True, 2, pytest.approx(0.7))


def test_a_row_says_how_sure_the_end_was_and_how_long_was_waited() -> None:
    went_on = {"finished": 0.2, "silence_s": 0.74, "ended": False}
    ended = {"finished": 0.9, "silence_s": 0.4, "ended": True}
    row = figures.row(called(turn(5.0, 7.0, pauses=[went_on, ended])), scene())
    assert (row.finished, row.silence_s) == (0.9, 0.4)
    assert figures.row(called(turn(5.0, 7.0)), scene()).silence_s is None


def test_a_revision_that_was_superseded_is_no_cut() -> None:
    early = turn(5.0, 5.8, 0.1, turn_id="x", status="superseded")
    row = figures.row(called(early, turn(5.0, 7.0), a=HeardReply("a", 107.5, audible=107.7)), scene("paused"))
    assert (row.cut, row.turns) == (False, 1)


def test_a_reply_that_was_audible_before_the_end_is_no_answer_to_it() -> None:
    row = figures.row(called(turn(5.0, 5.8), a=HeardReply("a", 106.0, audible=106.1)), scene())
    assert row.voice_to_voice_s is None
    assert row.cut
    assert figures.row(called(), scene()).voice_to_voice_s is None


def test_the_voice_stops_when_it_first_falls_silent_after_the_first_speech_sample() -> None:
    cut = HeardReply("r", 103.0, audible=103.1, over=105.4, cut=True)
    assert stop_seconds(cut, 105.0) == pytest.approx(0.4)
    paused_first = HeardReply("r", 103.0, audible=103.1, over=105.4, cut=True, pauses=[(105.15, None)])
    assert stop_seconds(paused_first, 105.0) == pytest.approx(0.15)
    paused_before = HeardReply("r", 103.0, audible=103.1, over=105.4, cut=True, pauses=[(104.0, 104.3)])
    assert stop_seconds(paused_before, 105.0) == pytest.approx(0.4)
    assert stop_seconds(HeardReply("r", 103.0, audible=103.1, over=105.4), 105.0) is None
    assert stop_seconds(None, 105.0) is None


def test_who_never_yields_does_so_at_the_end_of_what_they_say() -> None:
    assert yield_seconds(HeardReply("r", 103.0, audible=103.1, over=105.4, cut=True), 105.0) == pytest.approx(0.4)
    assert yield_seconds(HeardReply("r", 103.0, audible=103.1, over=108.5), 105.0) == pytest.approx(3.5)
    assert yield_seconds(None, 105.0) is None


def test_what_was_being_heard_at_a_stamp() -> None:
    reply = HeardReply("r", 1.0, audible=1.1, over=5.0, pauses=[(2.0, 2.5), (4.0, None)])
    assert [reply.sounding(at) for at in (1.0, 1.2, 2.2, 3.0, 4.5, 6.0)] == [False, True, False, True, False, False]


@pytest.mark.parametrize(
    ("reply", "stopped"),
    [
        (HeardReply("r", 0.0, audible=0.1, over=11.0, cut=True), True),
        (HeardReply("r", 0.0, audible=0.1, over=14.0, cut=True), False),  # by the next question
        (HeardReply("r", 0.0, audible=0.1), False),
        (HeardReply("r", 0.0, audible=0.1, pauses=[(10.2, None)]), True),  # it never went on
        (HeardReply("r", 0.0, audible=0.1, over=14.0, cut=True, pauses=[(13.2, None)]), False),  # by the next question
        (HeardReply("r", 0.0, audible=0.1, over=11.5, pauses=[(10.2, 10.6)]), False),
        (HeardReply("r", 0.0, audible=0.1, over=10.3), None),  # it had said all
    ],
)
def test_whether_a_backchannel_stopped_the_reply(reply: HeardReply, stopped: bool | None) -> None:
    assert figures.stopped_by_murmur(reply, start=10.0, watched_until=13.0) is stopped


def test_the_summary_counts_each_thing_over_what_it_was_tried_on() -> None:
    stages = [
        {"status": "superseded", "model_s": 0.2},
        {"status": "superseded", "model_s": None},
        {"status": "completed", "model_s": 0.4},
    ]
    parts = [
        {"what": "end_of_turn", "stage": "", "start_s": 0.0, "end_s": 0.2},
        {"what": "model", "stage": "llm:llama-cpp", "start_s": 0.2, "end_s": 0.5},
    ]
    caller = called(turn(5, 7, stages=stages, parts=parts), a=HeardReply("a", 107.4, audible=107.5))
    interrupting = scene(sounding=HeardReply("r", 103.0, audible=103.1, over=105.2, cut=True))
    rows = [figures.row(caller, each) for each in (interrupting, scene("paused"))]
    rows[1].cut = True
    found = figures.summary([PlayedCall(caller)], rows)
    assert found["voice_to_voice_p50_s"] == pytest.approx(0.5)
    assert (found["questions"], found["answered"], found["false_cut_rate"]) == (1, 1, 1.0)
    assert found["interruption_stop_p95_s"] == pytest.approx(0.2)
    assert found["wasted_model_s_per_turn"] == pytest.approx(0.2)
    assert found["residue_p95_share"] == pytest.approx(0.02)
    assert found["part_model_llm_p50_s"] == pytest.approx(0.3)
    assert "backchannel_stop_rate" not in found


CAPITAL = ("the", "capital", "of", "italy", "is", "rome")


@pytest.mark.parametrize(
    ("written", "heard", "words"),
    [
        ("The capital of Italy is Rome.", kept.HeardWords(CAPITAL, 6, 6), 0),
        ("The capital of Italy is Rome.", kept.HeardWords(CAPITAL, 4, 4), 2),
        ("The capital of Italy", kept.HeardWords(CAPITAL, 5, 6), 1),
        ("The capital of Italy", kept.HeardWords(CAPITAL, 4, 5), 0),
        ("The capital of Italy is", kept.HeardWords(CAPITAL, 4, 5), 0),  # the cut went through it
        ("The capital of Italy is Rome", kept.HeardWords(CAPITAL, 4, 5), 1),
        ("The capital of Italy is room", kept.HeardWords(CAPITAL, 6, 6), 0),  # misheard, not missing
        ("The capital of Italy", kept.HeardWords(("zzz",), 1, 1), None),
        ("", kept.HeardWords(CAPITAL, 2, 3), 2),
        ("", kept.HeardWords(CAPITAL, 0, 1), 0),
        ("The capital", kept.HeardWords((), 0, 0), None),
    ],
)
def test_how_many_words_the_history_is_off(written: str, heard: kept.HeardWords, words: int | None) -> None:
    assert kept.words_off(written, heard) == words


def test_a_block_that_the_recording_does_not_hold_in_its_place_is_lost() -> None:
    sent = [np.full(BLOCK, number, "<i2").tobytes() for number in range(1, 5)]
    whole = b"".join(sent)
    assert missing_blocks(sent, whole) == 0
    assert missing_blocks(sent, whole[: 7 * BLOCK]) == 1
    assert missing_blocks(sent, sent[0] + bytes(2 * BLOCK) + sent[2] + sent[3]) == 1
