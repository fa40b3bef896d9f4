"""The responder's door: it hears its site, and what it played reaches the host."""

from __future__ import annotations

import struct
import uuid
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from openomni.events import Played, ReplyEnd


async def test_a_responder_hears_its_site_and_reports_what_it_played(world: Any) -> None:
    host = await world.host()
    world.api.allow("oo_0000aaaa_ward", site="ward-3")
    speaker = await world.connect("/v1/respond", token="oo_0000aaaa_ward")
    await speaker.hello(role="responder", audio="binary")
    world.api.allow("oo_0000bbbb_ward", site="ward-4")
    elsewhere = await world.connect("/v1/respond", token="oo_0000bbbb_ward")
    await elsewhere.hello(role="responder", audio="binary")
    listener = await world.connect(token="oo_0000aaaa_ward", OpenOmni_Version="0.2.0")
    welcome = await listener.hello(audio="binary", output=False, recording_id="r")
    hosted = await host.session()
    turn_id = uuid.uuid4().hex
    await hosted.answer(turn_id)
    started = await speaker.until("openomni.reply.started")
    assert (started["turn_id"], started["session_id"]) == (turn_id, welcome["session_id"])
    sound = await speaker.next()
    assert isinstance(sound, bytes)
    assert struct.unpack_from("<16sIQ", sound) == (bytes.fromhex(turn_id), 22_050, 0)
    assert (await speaker.until("openomni.reply.ended"))["status"] == "completed"
    report = {"type": "openomni.playback", "turn_id": turn_id, "started": 1.0, "audible": None, "seconds": 0.1}
    await speaker.send(report)
    assert "openomni.clock" in (await speaker.until("error"))["error"]["message"]
    await speaker.send({"type": "openomni.clock", "offset": 5.0, "uncertainty": 0.001})
    await speaker.send(report)
    assert await hosted.until(Played) == Played(turn_id, 6.0, None, 0.1, False, 0.001)
    back = await world.connect("/v1/respond", token="oo_0000aaaa_ward")
    await back.hello(role="responder", audio="binary")
    await back.send({"type": "openomni.clock", "offset": 5.0, "uncertainty": 0.001})
    await back.send({**report, "ended": True})
    assert (await hosted.until(Played)).ended, "it lost its line, and reports on what it played before"
    await hosted.emit(ReplyEnd(turn_id, "cancelled"))
    assert (await speaker.until("openomni.reply.ended"))["status"] == "cancelled"
    await elsewhere.send({"type": "openomni.ping", "sent": 0.0})
    assert isinstance(pong := await elsewhere.next(), dict)
    assert pong["type"] == "openomni.pong", "another site hears nothing"


@pytest.mark.parametrize("scopes", [["device"], ["admin"]])
async def test_without_a_site_a_responder_plays_what_its_own_token_opened(world: Any, scopes: list[str]) -> None:
    host = await world.host()
    world.api.allow("oo_0000aaaa_one", *scopes)
    world.api.allow("oo_0000bbbb_two", *scopes)
    speakers = [await world.connect("/v1/respond", token=token) for token in ("oo_0000aaaa_one", "oo_0000bbbb_two")]
    for each in speakers:
        await each.hello(role="responder", audio="binary")
    listener = await world.connect(token="oo_0000aaaa_one", OpenOmni_Version="0.2.0")
    await listener.hello(audio="binary", output=False, recording_id="r")
    hosted = await host.session()
    assert hosted.opening.made_by == "0000aaaa"
    await hosted.answer(uuid.uuid4().hex)
    await speakers[0].until("openomni.reply.started")
    await speakers[1].send({"type": "openomni.ping", "sent": 0.0})
    assert (await speakers[1].next())["type"] == "openomni.pong", "the other one hears nothing"


async def test_a_device_without_a_site_is_let_in_at_none(world: Any) -> None:
    await world.host()
    for path in ("/v1/respond?site=ward-4", "/v1/realtime?model=local&site=ward-4"):
        client = await world.connect(path, token=world.api.allow("oo_0000aaaa_one"))
        await client.send({"type": "openomni.hello", "version": "0.2.0"})
        assert "--site ward-4" in (await client.until("error"))["error"]["message"]


@pytest.mark.parametrize(
    ("path", "first", "code"),
    [
        ("/v1/respond?site=ward-4", {"type": "openomni.hello", "role": "responder"}, 4403),
        ("/v1/respond", {"type": "openomni.ping"}, 4400),
        ("/v1/respond", {"type": "openomni.hello", "role": "singer"}, 4400),
    ],
)
async def test_a_wrong_beginning_is_refused_with_a_line(world: Any, path: str, first: Any, code: int) -> None:
    world.api.allow("oo_0000aaaa_ward", site="ward-3")
    speaker = await world.connect(path, token="oo_0000aaaa_ward")
    await speaker.send(first)
    assert (await speaker.until("error"))["error"]["message"]
    with pytest.raises(ConnectionClosed) as end:
        await speaker.next()
    assert end.value.rcvd.code == code
