"""Records on their way: what can't be stored as it is, is stored as near as can be; what can't be at all is refused."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openomni.bounds import MAX_INT, MAX_MOMENT, storable
from openomni.records import AnyRecord, RecordingRecord, StageRecord, TurnRecord, bounded, decode


def turn(**fields: object) -> TurnRecord:
    known = {"project": "p", "turn_id": "t", "session_id": "s", "index": 0, "pipeline": "x", "pipeline_hash": "h"}
    return TurnRecord(**{**known, **fields})  # type: ignore[arg-type]


@given(st.text(st.characters(categories=None) | st.sampled_from("\x00\ud800\\u0000")))
def test_any_text_is_read_as_both_databases_store_it(text: str) -> None:
    stage = StageRecord(task_id="k", kind="llm", component="x", output={text: [text]})
    kept = bounded(turn(transcript=text, stages=[stage]))
    assert isinstance(kept, TurnRecord)
    assert storable(kept.transcript)
    assert len(kept.transcript) == len(text)
    if storable(text):
        assert (kept.transcript, kept.stages[0].output) == (text, {text: [text]})


def test_what_another_library_writes_is_read_too() -> None:
    plain = {**msgspec.to_builtins(turn()), "transcript": "a\x00b\ud800c"}
    record = decode(json.dumps(plain).encode())
    assert isinstance(record, TurnRecord)
    assert record.transcript == "a�b�c"


@pytest.mark.parametrize(
    ("record", "where"),
    [
        (RecordingRecord(project="p", recording_id="r", kind="audio", position=2**63 + 5), "position"),
        (RecordingRecord(project="p", recording_id="r", kind="audio", started_at=1e20), "started_at"),
        (RecordingRecord(project="p", recording_id="r", kind="audio", started_at=-1.0), "started_at"),
        (RecordingRecord(project="p", recording_id="r", kind="audio", samples=MAX_INT + 1), "samples"),
        (RecordingRecord(project="p", recording_id="r", kind="audio", rate=10**14), "rate"),
        (turn(version=2**70), "version"),
        (turn(started_at=MAX_MOMENT * 2), "started_at"),
    ],
)
def test_a_number_out_of_bounds_is_refused_in_a_line_that_says_where(record: AnyRecord, where: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{where}`$"):
        bounded(record)


def test_what_is_nested_too_deep_is_refused() -> None:
    deep = b'{"type":"turn","project":"p","spec":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(msgspec.MsgspecError):
        decode(deep)
