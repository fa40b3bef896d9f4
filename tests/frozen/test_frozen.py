"""Versions mix: what an earlier release wrote is read, and what a later one may add stops nobody."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openomni import __version__, events, records
from openomni.events import AudioIn, StageInput, StageOutput, UnknownEvent
from openomni.events.values import Unknown

from . import messages

FROZEN = [
    pytest.param(entry, id=f"{file.stem}-{entry['plane']}-{entry['name']}")
    for file in sorted(Path(__file__).parent.glob("*.json"))
    for entry in json.loads(file.read_text())
]
EVERY = [pytest.param(*each, id=f"{each[0]}-{messages.name(each[1])}") for each in messages.every()]


@pytest.mark.parametrize("entry", FROZEN)
def test_what_a_release_wrote_is_read(entry: dict[str, Any]) -> None:
    message = messages.read(entry["plane"], base64.b64decode(entry["data"]), entry["kind"])
    assert messages.name(message) == entry["name"]


def test_the_messages_of_this_release_are_frozen() -> None:
    now = {f"{plane} {messages.name(message)}" for plane, message in messages.every()}
    file = Path(__file__).parent / f"{__version__}.json"
    assert file.exists(), "freeze the messages of this release: cd tests && python -m frozen.write"
    assert now == {f"{entry['plane']} {entry['name']}" for entry in json.loads(file.read_text())}


@pytest.mark.parametrize(("plane", "message"), EVERY)
def test_fields_that_a_later_release_adds_are_left_out(plane: messages.Plane, message: Any) -> None:
    read = messages.read(plane, messages.of_a_later_version(plane, message), type(message).__name__)
    assert messages.encode(plane, read) == messages.encode(plane, message)


@pytest.mark.parametrize("plane", ["request", "answer", "input", "output"])
def test_an_event_of_a_later_release_is_skipped_and_told_once(
    plane: messages.Plane, caplog: pytest.LogCaptureFixture
) -> None:
    later = msgspec.msgpack.encode({"type": f"{plane}.of.tomorrow", "x": 1})
    for _ in range(3):
        with pytest.raises(UnknownEvent):
            messages.read(plane, later, "")
    assert caplog.text.count(f"'{plane}.of.tomorrow' is of a newer version") == 1
    assert events.wire.skipped[f"{plane}.of.tomorrow"] == 3


@pytest.mark.parametrize(("plane", "kind"), [("request", StageInput), ("answer", StageOutput)])
def test_a_value_of_a_later_release_leaves_its_place(plane: messages.Plane, kind: type) -> None:
    plain = msgspec.msgpack.decode(events.encode(messages.filled(kind)))
    read = messages.read(plane, msgspec.msgpack.encode({**plain, "value": {"type": "gesture", "x": 1}}), "")
    assert read.value == Unknown("gesture")
    assert read.sequence == plain["sequence"]


def test_a_known_event_that_is_broken_is_an_error_and_no_event_of_tomorrow() -> None:
    broken = msgspec.msgpack.encode({"type": "audio.in", "position": "x", "captured": 0.0, "pcm": b""})
    with pytest.raises(events.WireError) as caught:
        events.decode_input(broken)
    assert not isinstance(caught.value, UnknownEvent)
    assert events.decode_input(events.encode(AudioIn(0, 0.0, b""))) == AudioIn(0, 0.0, b"")


def test_what_an_earlier_release_did_not_write_has_its_default() -> None:
    record = records.decode(
        b'{"type":"turn","project":"p","turn_id":"t","session_id":"s","index":0,"pipeline":"x","pipeline_hash":"h"}'
    )
    assert isinstance(record, records.TurnRecord)
    assert (record.status, record.stages) == ("started", [])
