"""What is given to a turn that is run again, and whether the same came of it."""

from __future__ import annotations

from typing import Any

import pytest

from openomni.errors import WrongUsage
from openomni.events import Document, Documents, Emotion, Speaker, Text, Transcript
from openomni.pipeline.again import compare, outputs
from openomni.pipeline.spec import parse
from openomni.records import FrameRecord, SegmentRecord, StageRecord, TurnRecord

PIPELINE = parse(
    {
        "name": "all",
        "stages": [
            {"stt": "simulated"}, {"emotion": "simulated"}, {"speaker": "simulated"}, {"retrieval": "simulated"},
            {"llm": "simulated"}, {"tts": "simulated"},
        ],
    }
)  # fmt: skip
GAVE: dict[str, dict[str, Any]] = {
    "stt": {"text": "what is it", "final": True, "language": "en"},
    "emotion": {"overall": 0.4, "label": "glad"},
    "speaker": {"label": "ada", "confidence": 0.9},
    "retrieval": {"documents": [{"text": "It is noon.", "score": 0.5, "source": "clock"}]},
    "llm": {"text": "It is noon. Bye."},
    "tts": {"seconds": 1.0, "rate": 16_000, "sha256": "ab", "clauses": ["It is noon.", "Bye."], "sounds": ["a", "b"]},
}


def stage(kind: str, status: Any = "completed", reason: str = "", **output: Any) -> StageRecord:
    return StageRecord(task_id=kind, kind=kind, component="c", status=status, reason=reason, output=output)


def record(turn_id: str = "t", gave: dict[str, dict[str, Any]] = GAVE, **fields: Any) -> TurnRecord:
    known: dict[str, Any] = {
        "transcript": "what is it", "utterance_hash": "u", "segments": [SegmentRecord("user", 0, 16_000)],
        "stages": [stage(kind, **output) for kind, output in gave.items()],
    }  # fmt: skip
    return TurnRecord(
        project="p", turn_id=turn_id, session_id="s", index=0, pipeline="all", pipeline_hash="h", **{**known, **fields}
    )


def test_what_comes_before_a_stage_is_given_as_it_was_and_a_correction_goes_before_it() -> None:
    given = outputs(record(), PIPELINE, "tts", {"speaker": "bob"})
    assert given.values == {
        "transcript": [Transcript("what is it", language="en")],
        "emotion": [Emotion(0.4, label="glad")],
        "speaker": [Speaker("bob")],
        "documents": [Documents((Document("It is noon.", 0.5, "clock"),))],
        "reply": [Text("It is noon. Bye.")],
    }
    corrected = {kind for kind, source in given.sources.items() if source == "corrected"}
    assert (corrected, given.clauses) == ({"speaker"}, ["It is noon.", "Bye."])
    assert outputs(record(), PIPELINE, "", {}) == ({}, {}, ())
    assert outputs(record(), PIPELINE, "tts", {"llm": "Hello."}).clauses == ()


def test_what_was_typed_has_nothing_that_was_heard() -> None:
    typed = record(gave={"llm": GAVE["llm"]}, segments=[], transcript="hello")
    given = outputs(typed, parse({"name": "x", "stages": [{"stt": "a"}, {"emotion": "a"}, {"llm": "a"}]}), "llm", {})
    assert given.values == {}


@pytest.mark.parametrize(
    ("begin", "corrected", "line"),
    [
        ("vad", {}, "the pipeline all has no vad stage; it has stt, emotion, speaker, retrieval, llm, tts"),
        ("", {"end_to_end": "x"}, "has no end_to_end stage"),
        ("", {"tts": "x"}, "what tts gives is no text"),
        ("", {"stt": "reference"}, "turns have no references yet; write the text itself"),
        ("tts", {"stt": "x"}, "--with stt=…: no stage that runs takes it; begin at retrieval, or leave it out"),
        ("llm", {}, r"turn t has no output of emotion on record; .*--with emotion=TEXT"),
    ],
)
def test_what_cant_be_given_is_said_in_a_line(begin: str, corrected: dict[str, str], line: str) -> None:
    gave = {kind: {} if kind == "emotion" else output for kind, output in GAVE.items()}
    with pytest.raises(WrongUsage, match=line):
        outputs(record(gave=gave), PIPELINE, begin, corrected)


def test_the_first_stage_that_differs_is_told_with_both_outputs() -> None:
    gave = GAVE | {"llm": {"text": "It is one."}, "tts": {"seconds": 1.0, "sha256": "cd", "clauses": ["It is one."]}}
    found = compare(record(), record("n", gave))
    assert not found.same
    assert found.stages == {
        "stt": True, "emotion": True, "speaker": True, "retrieval": True, "llm": False, "tts": False,
    }  # fmt: skip
    assert found.first is not None
    assert (found.first.stage, found.first.was, found.first.now) == (
        "llm", {"text": "It is noon. Bye."}, {"text": "It is one."},
    )  # fmt: skip


def test_how_an_output_was_made_makes_no_difference() -> None:
    gave = GAVE | {"stt": GAVE["stt"] | {"diagnostics": {"window_s": 6.0}, "usage": {"characters": 3}}}
    found = compare(record(), record("n", gave))
    assert (found.same, found.first) == (True, None)


def test_another_sound_or_other_pictures_are_the_first_difference() -> None:
    found = compare(record(), record("n", utterance_hash="v"))
    assert found.first is not None
    assert (found.same, found.first.stage) == (False, "utterance")
    frames = [[FrameRecord("aa")], [FrameRecord("bb")]]
    found = compare(*(record(str(number), frames=each) for number, each in enumerate(frames)))
    assert found.first is not None
    assert found.first.stage == "pictures"


def test_what_was_stopped_is_compared_as_far_as_it_came() -> None:
    cut = [
        stage("stt", **GAVE["stt"]),
        stage("llm", "cancelled", text="It is n"),
        stage("tts", "cancelled", sha256="x"),
    ]
    found = compare(record(stages=cut), record("n"))
    assert (found.same, found.stages) == (True, {"stt": True, "llm": None, "tts": None})
    cut[1] = stage("llm", "cancelled", text="He is")
    assert compare(record(stages=cut), record("n")).stages["llm"] is False


@pytest.mark.parametrize(
    ("clauses", "sounds", "same"),
    [
        (["It is noon."], ["a"], None),
        (["It is noon.", "Bye."], ["a", "cut"], None),
        (["It is noon.", "Bye."], ["x", "cut"], False),
        (["It is", "noon."], ["a"], False),
        ([], [], None),
    ],
)
def test_of_a_voice_that_was_cut_whole_clauses_are_compared(clauses: Any, sounds: Any, same: bool | None) -> None:
    cut = stage("tts", "cancelled", clauses=clauses, sounds=sounds, sha256="cut")
    assert compare(record(stages=[cut]), record("n")).stages["tts"] is same


def test_of_a_voice_of_an_earlier_release_nothing_is_known() -> None:
    old = stage("tts", seconds=1.0, rate=16_000)
    assert compare(record(stages=[old]), record("n")).stages["tts"] is None


def test_of_several_revisions_the_one_that_counted_is_compared() -> None:
    revisions = [stage("stt", "superseded", text="what"), stage("stt", **GAVE["stt"])]
    assert compare(record(stages=revisions), record("n")).same


def test_a_run_that_failed_is_not_the_same() -> None:
    found = compare(record(), record("n", {}, status="failed", reason="no agent offers llm:x"))
    assert found.first is not None
    assert found.first.now == {"status": "failed", "reason": "no agent offers llm:x"}
