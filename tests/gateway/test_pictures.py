"""Pictures pass through as they came: looked at by their header alone, and bounded."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np
import pytest

from openomni import jpeg
from openomni.events import PictureIn
from openomni.gateway import client_events
from openomni.gateway.conversation_items import read_item
from openomni.gateway.protocol import ProtocolError
from openomni.media import Frame

from .client import Client

SMALL = Frame(np.full((48, 64, 3), 120, np.uint8)).jpeg()


def claiming(width: int, height: int) -> bytes:
    """A small picture whose header says that it is larger."""
    at = SMALL.index(b"\xff\xc0")
    return SMALL[: at + 5] + struct.pack(">HH", height, width) + SMALL[at + 9 :]


def item(picture: bytes) -> dict[str, Any]:
    url = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    return {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": url}]}


def framed(picture: bytes) -> dict[str, Any]:
    return {"type": "openomni.frame", "position": 0, "jpeg": base64.b64encode(picture).decode()}


@pytest.fixture(autouse=True)
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Any:
        raise AssertionError("a picture was decoded, or encoded, in the gateway")

    monkeypatch.setattr(jpeg, "decode", never)
    monkeypatch.setattr(jpeg, "encode", never)


def test_an_items_picture_keeps_its_bytes() -> None:
    (picture,) = read_item(item(SMALL)).images
    assert picture.jpeg() == SMALL


async def test_a_frames_picture_keeps_its_bytes() -> None:
    client = Client()
    assert await client.sends(framed(SMALL)) == []
    assert client.told_host == [PictureIn(0, SMALL)]


@pytest.mark.parametrize("picture", [b"", b"no picture", SMALL[:20], claiming(8000, 8000), claiming(20_000, 1)])
async def test_what_no_model_could_look_at_is_refused_by_its_header(picture: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_item(item(picture))
    client = Client()
    (told,) = await client.sends(framed(picture))
    assert (told["error"]["code"], told["error"]["param"]) == ("invalid_value", "jpeg")
    assert client.told_host == []


async def test_items_of_a_session_are_bounded_in_bytes_until_some_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_events, "MAX_ITEM_BYTES", 4 * len(SMALL))
    client = Client(opted_in=False)
    create = {"type": "conversation.item.create", "item": item(SMALL)}
    for _ in range(2):
        added, done = await client.sends(create)
        assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    (refused,) = await client.sends(create)
    assert refused["error"]["code"] == "buffer_full"
    await client.sends({"type": "conversation.item.delete", "item_id": added["item"]["id"]})
    assert len(await client.sends(create)) == 2
