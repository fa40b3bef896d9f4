"""Conversation items as a Realtime client makes them: what the host is told of each."""

from __future__ import annotations

from typing import Literal, cast

from ..bounds import MAX_ID, MAX_NAME
from ..events import Message, ToolCall
from ..media import Frame, MediaError
from . import protocol
from .protocol import MAX_TYPED, Json, ProtocolError

_JPEG = ("data:image/jpeg;base64,", "data:image/jpg;base64,")
Role = Literal["user", "system", "assistant"]
_TEXTS = {"user": "input_text", "system": "input_text", "assistant": "output_text"}
_OLDER = {"assistant": "text"}


def read_item(item: object) -> Message:
    """What an item says. Raises `ProtocolError` for what no language model could be told."""
    if not isinstance(item, dict):
        raise ProtocolError("invalid_value", "`item` takes an object", "item")
    kind = item.get("type")
    if kind == "function_call_output":
        return Message("tool", protocol.text(item, "output"), call_id=protocol.text(item, "call_id", MAX_NAME))
    if kind == "function_call":
        call = ToolCall(
            protocol.text(item, "call_id", MAX_NAME), protocol.text(item, "name", MAX_NAME),
            protocol.text(item, "arguments"),
        )  # fmt: skip
        return Message("assistant", "", tool_calls=(call,))
    role = item.get("role")
    if kind != "message" or not isinstance(role, str) or role not in _TEXTS:
        raise ProtocolError(
            "unsupported_value", "`item` takes a message of the role user, system or assistant, a function_call or a "
            "function_call_output", "item",
        )  # fmt: skip
    content = item.get("content")
    texts: list[str] = []
    images: list[Frame] = []
    for part in content if isinstance(content, list) else []:
        sort = part.get("type") if isinstance(part, dict) else None
        if sort in (_TEXTS[role], _OLDER.get(role)):
            texts.append(protocol.text(part, "text"))
        elif sort == "input_image" and role == "user":
            images.append(_image(part))
        else:
            raise ProtocolError("unsupported_value", _takes(role), "item.content")
    text = "\n".join(texts)
    if not text.strip() and not images:
        raise ProtocolError("invalid_value", _takes(role), "item.content")
    return Message(cast(Role, role), _limited(text), tuple(images))


def read_item_id(item: Json) -> str:
    """The name that a client gives its item, or a new one. Raises `ProtocolError`."""
    if item.get("id") is None:
        return protocol.new_id("item")
    given = protocol.text(item, "id", MAX_ID)
    if not given:
        raise ProtocolError("invalid_value", "`id` takes a name; leave it out for a new one", "item.id")
    return given


def _takes(role: str) -> str:
    more = " and input_image; sound goes to input_audio_buffer.append" if role == "user" else ""
    return f"`item.content` of a message of the role {role} takes {_TEXTS[role]}{more}"


def _limited(text: str) -> str:
    if len(text) > MAX_TYPED:
        raise ProtocolError("invalid_value", f"the text takes up to {MAX_TYPED} characters", "item.content")
    return text


def _image(part: Json) -> Frame:
    url = protocol.text(part, "image_url", protocol.MAX_TEXT)
    start = next((each for each in _JPEG if url.startswith(each)), None)
    if start is None:
        raise ProtocolError("unsupported_value", f"`image_url` takes a picture as {_JPEG[0]}…", "item.content")
    return read_picture(url[len(start) :], "item.content")


def read_picture(base64: object, param: str) -> Frame:
    """A picture in base64, known by its header alone: its pixels are for whoever looks at them. Raises
    `ProtocolError`."""
    try:
        return Frame.from_jpeg(protocol.decode_base64(base64, param))
    except MediaError as fault:
        raise ProtocolError("invalid_value", f"`{param}`: {fault}", param) from None
