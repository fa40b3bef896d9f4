"""Events as bytes: MessagePack with a `type` tag; an unknown field or type is an error, never dropped in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import OpenOmniError
from ..lazy import Lazy
from ..media import Audio, Frame
from .event import Event
from .session_input import SessionInput
from .session_output import SessionOutput
from .stages import StageAnswer, StageRequest

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")


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


class WireError(OpenOmniError, ValueError):
    """Bytes that are no event of the expected kind; the two sides run different versions, or something is broken."""


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
        raise WireError(f"not an event of this version ({error}); upgrade the older side") from None
