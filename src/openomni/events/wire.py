"""Events as bytes: MessagePack with a `type` tag.

Versions mix: a field that this version does not know is left out, and one that is missing has its default. An event of
a type that it does not know raises `UnknownEvent`, which a reader skips; a value of one comes as `Unknown`. Both are
counted in `skipped`, and told once. Anything else that does not fit is a `WireError`.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from ..errors import OpenOmniError
from ..lazy import Lazy
from ..media import Audio, Frame
from .event import Event
from .session_input import SessionInput
from .session_output import SessionOutput
from .stages import StageAnswer, StageCall, StageInput, StageOutput, StageRequest
from .values import Unknown, Value

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")


log = logging.getLogger(__name__)

skipped: Counter[str] = Counter()
"""How often each type was skipped that this version does not know."""


def _to_wire(value: Any) -> Any:
    if isinstance(value, Audio):
        return {"rate": value.rate, "f32": value.samples.astype("<f4", copy=False).tobytes()}
    if isinstance(value, Frame):
        return {"at": value.at, "jpeg": value.jpeg()}
    raise NotImplementedError(f"{type(value).__name__} has no wire form")


def _from_wire(kind: type, value: Any) -> Any:
    if kind is Audio:
        return Audio(np.frombuffer(value["f32"], "<f4"), value["rate"])
    if kind is Frame:
        return Frame.from_jpeg(value["jpeg"], value["at"])
    raise NotImplementedError(f"{kind.__name__} has no wire form")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_wire)
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {
    union: msgspec.msgpack.Decoder(union, dec_hook=_from_wire)
    for union in (StageRequest, StageAnswer, SessionInput, SessionOutput)
}


_plain = msgspec.msgpack.Decoder()
_values = {kind.__struct_config__.tag for kind in get_args(Value)}
_tags = _values.union(*({kind.__struct_config__.tag for kind in get_args(union)} for union in _decoders))
_carriers = {"stage.input": (StageInput, "value"), "stage.output": (StageOutput, "value"),
             "stage.call": (StageCall, "first")}  # fmt: skip
"""Which events carry a value, and where."""


class WireError(OpenOmniError, ValueError):
    """Bytes that are no event of the expected kind; the two sides run different versions, or something is broken."""


class UnknownEvent(WireError):
    """An event of a newer version: to be skipped."""


def encode(event: Event) -> bytes:
    return _encoder.encode(event)


def decode_request(data: bytes) -> StageRequest:
    return _decode(data, StageRequest)  # type: ignore[no-any-return]


def decode_answer(data: bytes) -> StageAnswer:
    return _decode(data, StageAnswer)  # type: ignore[no-any-return]


def decode_input(data: bytes) -> SessionInput:
    return _decode(data, SessionInput)  # type: ignore[no-any-return]


def decode_output(data: bytes) -> SessionOutput:
    return _decode(data, SessionOutput)  # type: ignore[no-any-return]


def _decode(data: bytes, union: Any) -> Any:
    try:
        return _decoders[union].decode(data)
    except msgspec.MsgspecError as error:
        if (event := _of_a_newer_version(data, union)) is not None:
            return event
        raise WireError(f"not an event of this version ({error}); upgrade the older side") from None


def _of_a_newer_version(data: bytes, union: Any) -> Event | None:
    """The event with `Unknown` in place of a value that is; None when that isn't what is wrong with it."""
    try:
        plain = _plain.decode(data)
    except msgspec.MsgspecError:
        return None
    tag = plain.get("type") if isinstance(plain, dict) else None
    if not isinstance(tag, str):
        return None
    if tag not in _tags:
        _skip(tag)
        raise UnknownEvent(f"{tag!r} is an event of a newer version; it is skipped")
    kind, place = _carriers.get(tag, (None, ""))
    value = plain.get(place)
    name = value.get("type") if isinstance(value, dict) else None
    if kind is None or not isinstance(name, str) or name in _values:
        return None
    _skip(name)
    try:
        event: Event = msgspec.convert({**plain, place: {"type": "text", "text": ""}}, kind, dec_hook=_from_wire)
    except msgspec.ValidationError:
        return None
    return msgspec.structs.replace(event, **{place: Unknown(name)})


def _skip(tag: str) -> None:
    skipped[tag] += 1
    if skipped[tag] == 1:
        log.warning("%r is of a newer version than this one; it is skipped, now and later: upgrade this side", tag)
