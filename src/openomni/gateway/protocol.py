"""The wire of the live plane: client messages in, events out, binary frames both ways.

Events are plain dictionaries until they are encoded, so that the hot path validates nothing twice. Their names are
those of the OpenAI Realtime protocol (a test holds them to its SDK) and, under `openomni.`, ours for clients that opted
in.
"""

from __future__ import annotations

import struct
import uuid
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any

import msgspec

from .. import bounds
from .. import version as version_of
from ..version import OLDEST

Json = dict[str, Any]

SDK_RATE = 24_000
"""Samples a second of the PCM that plain Realtime clients send and get."""

MAX_TEXT = 1 << 20
"""Characters of one JSON message."""
MAX_TYPED = 64 << 10
"""Characters of one text in it: what is typed, a tool's result, what a model is told to be."""
MAX_SHOWN = 80
"""Characters of what a client named wrongly that it is told again."""
MAX_BINARY = 256 << 10
"""Bytes of one binary frame."""

MAX_STAMP = bounds.MAX_MOMENT
"""Seconds, either way, on a client's clock: whatever it counts from."""

MIN_CLIENT = OLDEST
"""The oldest listener or responder that this gateway understands."""

_AUDIO_HEADER = struct.Struct("<Qd")
_REPLY_HEADER = struct.Struct("<16sIQ")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class ProtocolError(Exception):
    """What a client asked wrongly. It becomes an `error` event; the connection stays open."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param
        self.cause: object = None
        """The client's own id of the event that it concerns."""

    @property
    def event(self) -> str:
        return encode(error(self.code, self.message, param=self.param, cause=self.cause))


class Ended(Exception):
    """Ends a connection with a WebSocket close `code`; `event` is an error event to send before it."""

    def __init__(self, code: int, reason: str, event: Json | None = None) -> None:
        super().__init__(reason)
        self.code, self.reason, self.event = code, reason, event


NORMAL = 1000
RESTARTING = 1012
BAD_REQUEST = 4400
UNAUTHORIZED = 4401
FORBIDDEN = 4403
NOT_FOUND = 4404
TOO_SLOW = 4408
TOO_OLD = 4426
FLOODING = 4429
UNAVAILABLE = 4503
"""Close codes above 4000 are 4000 + the HTTP status that says the same."""


def failure(close_code: int, code: str, message: str) -> Ended:
    """An end that the client is told in an `error` event and, shortened to what fits there, in the close frame."""
    return Ended(close_code, close_reason(message), error(code, message, kind=error_type(close_code)))


def close_reason(text: str) -> str:
    """At most 123 bytes, which is what a close frame holds."""
    return text.encode()[:123].decode(errors="ignore")


def error_type(close_code: int) -> str:
    return "server_error" if close_code in (UNAVAILABLE, RESTARTING) else "invalid_request_error"


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


def encode(event: Mapping[str, Any]) -> str:
    return _encoder.encode(event).decode()


def parse(text: str) -> Json:
    """A client's message as a dictionary with a `type`. Raises `ProtocolError`."""
    if len(text) > MAX_TEXT:
        raise ProtocolError("message_too_large", f"a message holds at most {MAX_TEXT} characters; send smaller parts")
    try:
        message = _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as fault:
        raise ProtocolError("invalid_json", f"the message is no JSON: {fault}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError("invalid_event", "a message is a JSON object with a `type`", "type")
    if "\\u0000" in text and (where := _unstorable(message, "")):
        refused = ProtocolError("invalid_value", f"`{where}` holds a NUL character, which no text has", where)
        refused.cause = message.get("event_id")
        raise refused
    return message


def _unstorable(value: object, where: str) -> str:
    """The place of the first text that no database stores; empty when there is none."""
    match value:
        case str() if not bounds.storable(value):
            return where
        case list():
            return next(filter(None, (_unstorable(each, where) for each in value)), "")
        case dict():
            for name, each in value.items():
                inside = f"{where}.{name[:MAX_SHOWN]}".lstrip(".")
                if found := inside if not bounds.storable(name) else _unstorable(each, inside):
                    return bounds.stored(found)
    return ""


def error(
    code: str, message: str, *, param: str | None = None, cause: object = None, kind: str = "invalid_request_error"
) -> Json:
    """An `error` event; `cause` is the client's own event id, where it gave one."""
    return {
        "type": "error",
        "event_id": new_id("event"),
        "error": {
            "type": kind,
            "code": code,
            "message": message,
            "param": param,
            "event_id": cause if isinstance(cause, str) else None,
        },
    }


def error_message(event: Json | None) -> str:
    return str(event["error"]["message"]) if event else ""


def decode_base64(text: object, param: str) -> bytes:
    """Raises `ProtocolError` for anything but base64."""
    if not isinstance(text, str):
        raise ProtocolError("invalid_value", f"`{param}` takes base64 text", param)
    try:
        return a2b_base64(text, strict_mode=True)
    except (Base64Error, ValueError) as fault:
        raise ProtocolError("invalid_value", f"`{param}` is no base64: {fault}", param) from None


def unpack_audio(frame: bytes) -> tuple[int, float, bytes]:
    """An opted-in client's audio frame: position (samples at 16 kHz), captured (its clock, seconds), PCM16."""
    if len(frame) > MAX_BINARY:
        raise ProtocolError("message_too_large", f"an audio frame holds at most {MAX_BINARY} bytes; send smaller ones")
    pcm = frame[_AUDIO_HEADER.size :]
    if len(frame) < _AUDIO_HEADER.size or len(pcm) % 2:
        raise ProtocolError("invalid_frame", "an audio frame is position (u64), captured (f64) and whole PCM16 samples")
    position, captured = _AUDIO_HEADER.unpack_from(frame)
    if position > bounds.MAX_POSITION:
        raise ProtocolError("invalid_frame", f"position takes 0 to {bounds.MAX_POSITION} samples, not {position}")
    if not bounds.finite(captured, -MAX_STAMP, MAX_STAMP):
        raise ProtocolError("invalid_frame", f"captured takes seconds on the client's clock, not {captured:g}")
    return position, captured, pcm


def pack_reply(turn_id: str, rate: int, offset: int, pcm: bytes) -> bytes:
    """Reply audio for an opted-in client: turn id, rate, offset in samples at that rate, PCM16."""
    return _REPLY_HEADER.pack(bytes.fromhex(turn_id), rate, offset) + pcm


def number(message: Json, field: str, low: float = -MAX_STAMP, high: float = MAX_STAMP) -> float:
    """A number that the message must carry, by default seconds on a client's clock. Raises `ProtocolError`."""
    value = message.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError("invalid_value", f"`{field}` takes a number", field)
    if not low <= value <= high:  # NaN neither
        raise ProtocolError("invalid_value", f"`{field}` takes a number from {low:.12g} to {high:.12g}", field)
    return float(value)


def text(message: Json, field: str, most: int = MAX_TYPED) -> str:
    """Text of at most so many characters that the message must carry. Raises `ProtocolError`."""
    value = message.get(field)
    if not isinstance(value, str):
        raise ProtocolError("invalid_value", f"`{field}` takes text", field)
    if len(value) > most:
        raise ProtocolError("invalid_value", f"`{field}` takes up to {most} characters", field)
    return value


def too_old(version: str) -> bool:
    """Whether a client of that version is older than `MIN_CLIENT`; one without a number is not."""
    return bool(version) and version_of.too_old(version)
