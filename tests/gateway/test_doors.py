"""Whatever comes in by a door of the gateway: only the protocol's errors come out, and what is asked is answered."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openomni import bounds, clock, events
from openomni.clock import Offset
from openomni.events import AudioIn, PictureIn, Played
from openomni.gateway import protocol
from openomni.gateway.access import Access
from openomni.gateway.client_events import HANDLERS, MAX_ITEM_BYTES, MAX_UNANSWERED
from openomni.gateway.conversation_items import read_item
from openomni.gateway.hello import read_hello
from openomni.gateway.protocol import Ended, ProtocolError
from openomni.gateway.responder import ResponderConnection
from openomni.gateway.spoken_turns import SpokenTurns

from .client import Client

thoroughly = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
WORDS = st.sampled_from(
    ["message", "user", "system", "assistant", "input_text", "input_image", "function", "function_call", "realtime",
     "function_call_output", "audio/pcm", "pcm16", "server_vad", "semantic_vad", "auto", "none", "AAAA", "QQ==",
     "data:image/jpeg;base64,AAAA", "c1", "2", "a\0b", "ab" * 16, "msg_" + "ab" * 16, "binary", "listener"]
)  # fmt: skip
FIELDS = st.sampled_from(
    ["type", "id", "item", "item_id", "previous_item_id", "event_id", "role", "content", "text", "image_url", "call_id",
     "name", "arguments", "output", "session", "audio", "input", "format", "rate", "voice", "transcription", "language",
     "turn_detection", "threshold", "silence_duration_ms", "create_response", "eagerness", "response", "response_id",
     "instructions", "output_modalities", "tools", "tool_choice", "parameters", "metadata", "conversation", "again",
     "audio_end_ms", "content_index", "sent", "offset", "uncertainty", "position", "jpeg", "turn_id", "started",
     "audible", "seconds", "ended", "version", "source", "session_id", "recording_id", "wait_for_agent"]
)  # fmt: skip
ANYTHING = st.recursive(
    PLAIN | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=6),
    max_leaves=12,
)
MESSAGES = st.dictionaries(FIELDS, ANYTHING, max_size=6)

ANSWERED = {
    "session.update": {"session.updated"},
    "input_audio_buffer.clear": {"input_audio_buffer.cleared"},
    "conversation.item.create": {"conversation.item.added"},
    "conversation.item.delete": {"conversation.item.deleted"},
    "conversation.item.retrieve": {"conversation.item.retrieved"},
    "conversation.item.truncate": {"conversation.item.truncated"},
    "output_audio_buffer.clear": {"error"},
    "openomni.hello": {"error"},
    "openomni.ping": {"openomni.pong"},
}
"""What answers an event at once where it is right; the rest is answered by what follows of it, or by nothing."""


@pytest.mark.parametrize("kind", sorted(HANDLERS))
@given(message=MESSAGES, opted_in=st.booleans(), vad=st.booleans())
@thoroughly
async def test_an_event_of_each_type_is_taken_or_refused_by_the_protocol(
    kind: str, message: dict[str, Any], opted_in: bool, vad: bool
) -> None:
    client = Client(opted_in)
    if not vad:
        await client.sends({"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}})
    client.told_host.clear()
    told = await client.sends({**message, "type": kind})
    kinds = {each["type"] for each in told}
    if "error" in kinds:
        assert len(told) == 1
        assert not client.told_host, "what is refused changes nothing"
    elif kind in ANSWERED:
        assert kinds >= ANSWERED[kind]
    else:
        assert client.told_host or kind.startswith(("input_audio_buffer.", "openomni.clock"))
    sendable(client)


@given(text=st.text(max_size=200) | ANYTHING.map(json.dumps))
@thoroughly
async def test_text_that_is_no_event_is_refused_by_the_protocol(text: str) -> None:
    (told,) = await Client().sends(text)
    assert told["type"] == "error"


@given(messages=st.lists(st.tuples(st.sampled_from(sorted(HANDLERS)), MESSAGES), max_size=30))
@thoroughly
async def test_a_whole_conversation_of_whatever_leaves_it_bounded_and_alive(messages: list[Any]) -> None:
    client = Client()
    for kind, message in messages:
        await client.sends({**message, "type": kind})
    sendable(client)
    assert client.events.turns.unanswered <= MAX_UNANSWERED
    assert client.events.items.made_bytes <= MAX_ITEM_BYTES
    (pong,) = await client.sends({"type": "openomni.ping", "sent": 1})
    assert pong["type"] == "openomni.pong"


@given(frames=st.lists(st.binary(max_size=64) | st.tuples(st.integers(0, 2**64 - 1), st.floats(), st.integers(0, 40)),
                       max_size=20), synced=st.booleans())  # fmt: skip
@thoroughly
async def test_frames_are_taken_or_refused_by_the_protocol(frames: list[Any], synced: bool) -> None:
    with clock.using(lambda: 1000.0):
        client = Client()
        if synced:
            await client.sends({"type": "openomni.clock", "offset": -5.0, "uncertainty": 0.1})
        for frame in frames:
            whole = not isinstance(frame, bytes)
            told = await client.sends(struct.pack("<Qd", *frame[:2]) + bytes(frame[2]) if whole else frame)
            assert [each["type"] for each in told] in ([], ["error"])
    sendable(client)
    heard = [event for event in client.told_host if isinstance(event, AudioIn)]
    ends = [event.position + len(event.pcm) // 2 for event in heard]
    gaps = [after.position - max(ends[: number + 1]) for number, after in enumerate(heard[1:])]
    assert sum(max(gap, 0) for gap in gaps) <= 120 * events.AXIS_RATE, "no time passed"


def sendable(client: Client) -> None:
    """All that the host is told goes over the bus, and can be read there."""
    for event in client.told_host:
        data = events.encode(event)
        assert len(data) <= bounds.MAX_MESSAGE
        assert events.decode_input(data)
        match event:
            case AudioIn():
                assert 0 <= event.position <= bounds.MAX_POSITION
                assert bounds.finite(event.captured, -1e10, 1e10)
            case PictureIn():
                assert 0 <= event.position <= bounds.MAX_POSITION
            case Played():
                assert bounds.finite(event.started, -1e11, 1e11)
                assert 0 <= event.seconds <= bounds.MAX_SECONDS


@given(message=MESSAGES)
@thoroughly
def test_a_hello_is_taken_or_refused_by_the_protocol(message: dict[str, Any]) -> None:
    try:
        hello = read_hello({**message, "type": "openomni.hello"})
    except (ProtocolError, Ended):
        return
    assert len(hello.source) <= bounds.MAX_LINE
    assert len(hello.recording_id or "") <= bounds.MAX_ID
    assert len(hello.session_id or "") <= 48


@pytest.mark.parametrize("version", ["²", "9" * 5000, "1.²", "..", "0.1.0+x", "\N{DIGIT ONE}", "٣.0"])
def test_a_version_is_read_whatever_it_is(version: str) -> None:
    assert protocol.too_old(version) in (True, False)


@given(item=ANYTHING)
@thoroughly
def test_an_item_is_read_or_refused_by_the_protocol(item: Any) -> None:
    try:
        said = read_item(item)
    except ProtocolError:
        return
    assert len(said.content) <= protocol.MAX_TYPED


class Responder:
    """One without a socket: what it reports, and what it is answered."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.published: list[bytes] = []
        self.bus, self.spoken = self, SpokenTurns()
        access = Access("t", "default", ("device",))
        self.connection = ResponderConnection(self, self, "oo_t_x", access)  # type: ignore[arg-type]
        self.connection._site = "home"
        self.connection._offset = Offset(0.0, 0.1)
        self.spoken.put(("default", "home", "ab" * 16), "session")

    async def send_text(self, message: str) -> None:
        self.told.append(json.loads(message))

    async def publish(self, subject: str, data: bytes) -> None:
        self.published.append(data)


@given(kind=st.sampled_from(["openomni.ping", "openomni.clock", "openomni.playback", "else"]), message=MESSAGES)
@thoroughly
async def test_a_responders_message_is_taken_or_refused_by_the_protocol(kind: str, message: dict[str, Any]) -> None:
    responder = Responder()
    try:
        await responder.connection._take(protocol.parse(json.dumps({**message, "type": kind})), 1.0)
    except ProtocolError:
        assert not responder.published
        return
    assert kind != "else"
    for data in responder.published:
        assert events.decode_input(data)


async def test_who_is_heard_is_told_to_the_host(world: Any) -> None:
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    told = {"participant": "P-07", "consent": "recording", "context": "the lab", "origin": "replay"}
    await client.hello(audio="binary", recording_id="r", **told)
    opening = (await host.session()).opening
    assert {name: getattr(opening, name) for name in told} == told
