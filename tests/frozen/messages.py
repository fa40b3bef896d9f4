"""Every kind of message of this version, all of its fields filled, and what a later version could add to it."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import numpy as np

from openomni import events, records
from openomni.bounds import Uuid
from openomni.bus.credentials import Credentials
from openomni.bus.dead import DeadLetter
from openomni.bus.envelope import CallWork, TurnWork, Work
from openomni.bus.fleet import OfferedComponent, Presence
from openomni.bus.sessions import OpenSession, SessionOpened, SessionRefused
from openomni.media import Audio, Frame

Plane = Literal["request", "answer", "input", "output", "record", "msgpack", "json"]
UNIONS: dict[Plane, Any] = {
    "request": events.StageRequest,
    "answer": events.StageAnswer,
    "input": events.SessionInput,
    "output": events.SessionOutput,
    "record": records.AnyRecord,
}
PLAIN: dict[Plane, tuple[type, ...]] = {
    "msgpack": (Presence, OpenSession, SessionOpened, SessionRefused),
    "json": (Work, TurnWork, CallWork, OfferedComponent, Credentials, DeadLetter),
}
KINDS = {kind.__name__: kind for kinds in PLAIN.values() for kind in kinds}


def every() -> Iterator[tuple[Plane, Any]]:
    """One of each; of what carries a value, one with each value."""
    for plane, union in UNIONS.items():
        for kind in get_args(union):
            message = filled(kind)
            yield plane, message
            if isinstance(message, events.StageInput | events.StageOutput):
                for value in get_args(events.Value)[1:]:
                    yield plane, msgspec.structs.replace(message, value=filled(value))
    for plane, kinds in PLAIN.items():
        for kind in kinds:
            yield plane, filled(kind)


def name(message: Any) -> str:
    value = getattr(message, "value", None)
    return f"{type(message).__name__}({type(value).__name__})" if value is not None else type(message).__name__


def encode(plane: Plane, message: Any) -> bytes:
    if plane == "record":
        return records.encode(message)
    if plane == "json":
        return msgspec.json.encode(message)
    return events.encode(message)


def read(plane: Plane, data: bytes, kind: str) -> Any:
    """As whoever gets such a message reads it."""
    if plane == "record":
        return records.decode(data)
    if plane == "json":
        return msgspec.json.decode(data, type=KINDS[kind])
    if plane == "msgpack":
        return msgspec.msgpack.decode(data, type=KINDS[kind])
    decode = {"request": events.decode_request, "answer": events.decode_answer, "input": events.decode_input,
              "output": events.decode_output}[plane]  # fmt: skip
    return decode(data)


def of_a_later_version(plane: Plane, message: Any) -> bytes:
    """The message with a field more in each of its structs, at every depth."""
    plain = _grown(message)
    return msgspec.json.encode(plain) if plane in ("json", "record") else msgspec.msgpack.encode(plain)


def filled(kind: Any) -> Any:
    """A value of a type with nothing left at its default; of a union, the richest of its members."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        if kind is Uuid:
            return "0a" * 16
        return filled(args[0])
    if origin is Literal:
        return args[-1] or args[0]
    if origin in (Union, types.UnionType):
        return filled(next(arg for arg in args if arg is not type(None)))
    if origin is tuple:
        return tuple(filled(arg) for arg in args if arg is not Ellipsis)
    if origin is list:
        return [filled(args[0])]
    if origin is dict:
        return {"a": filled(args[1])}
    if kind is Audio:
        return Audio(np.array([0.0, 0.5, -0.5], np.float32), 16_000)
    if kind is Frame:
        return Frame(np.full((8, 8, 3), 128, np.uint8), 1.5)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind, include_extras=True)
        return kind(**{field.name: filled(hints[field.name]) for field in msgspec.structs.fields(kind)})
    plain = {str: "text", int: 3, float: 0.5, bool: True, bytes: b"\x01\x02", Any: {"b": [1, "c", None]}}
    return plain[kind]


def _grown(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        tag = {config.tag_field: config.tag} if config.tag else {}
        own = {field.encode_name: _grown(getattr(value, field.name)) for field in msgspec.structs.fields(value)}
        return {"a_later_field": {"deep": [1]}, **tag, **own}
    if isinstance(value, dict):
        return {name: _grown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_grown(each) for each in value]
    if isinstance(value, Audio | Frame):
        return {"a_later_field": 1, **msgspec.msgpack.decode(events.encode(value))}  # type: ignore[arg-type]
    return value
