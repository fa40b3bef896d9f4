"""A client that the gateway records loses its line and comes back: one session, one recording, nothing lost."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import struct
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from openomni.events import AudioIn, PictureIn, SessionClose, SpeechStarted, TurnDone
from openomni.gateway import live_sessions
from openomni.media import Frame

from .conftest import SECRET, TOKEN, Client, World, uploaded
from .test_process import start

OURS = {"OpenOmni_Version": "0.2.0"}


def frame(position: int, value: int, samples: int = 320) -> bytes:
    return struct.pack("<Qd", position, 0.0) + struct.pack("<h", value) * samples


async def samples(world: World, recording: str) -> list[int]:
    """Of a recording, once all of it is at the API."""
    return np.frombuffer((await uploaded(world.api, recording))[44:], "<i2").tolist()


async def test_the_same_recording_goes_on_when_the_client_comes_back(world: World) -> None:
    host = await world.host()
    client = await world.connect(**OURS)
    assert (await client.hello(audio="binary", session_id="s1"))["resumed"] is False
    hosted = await host.session()
    await client.send(frame(0, 1))
    await hosted.until(AudioIn)
    client.socket.transport.abort()
    again = await world.connect(**OURS)
    assert (await again.hello(audio="binary", session_id="s1"))["resumed"] is True
    await again.send(frame(320, 2))  # what was captured meanwhile
    await again.send(frame(960, 3))  # and before this some was lost
    await hosted.until(AudioIn)
    await hosted.until(AudioIn)
    await again.socket.close()
    await hosted.until(SessionClose)
    assert await samples(world, hosted.opening.recording) == [1] * 320 + [2] * 320 + [0] * 320 + [3] * 320
    assert list(world.api.recordings) == [hosted.opening.recording]
    assert host.opened.empty(), "the host that had it goes on with it"


async def test_a_session_that_nobody_comes_back_to_ends_and_is_uploaded(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(live_sessions, "PARKED_SECONDS", 0.05)
    host = await world.host()
    client = await world.connect(**OURS)
    await client.hello(audio="binary", session_id="s1")
    hosted = await host.session()
    await client.send(frame(0, 7))
    await hosted.until(AudioIn)
    client.socket.transport.abort()
    await hosted.until(SessionClose)
    assert await samples(world, hosted.opening.recording) == [7] * 320


async def test_the_recording_goes_on_with_another_host_too(world: World) -> None:
    first = await world.host("host1")
    client = await world.connect(**OURS)
    await client.hello(audio="binary", session_id="s1")
    hosted = await first.session()
    await client.send(frame(0, 1))
    await hosted.until(AudioIn)
    await first.vanish()
    assert (await client.until("error"))["error"]["code"] == "host_lost"
    client.socket.transport.abort()
    second = await world.host("host2")
    again = await world.connect(**OURS, OpenOmni_Wait_For_Agent="1")
    assert (await again.hello(audio="binary", session_id="s1"))["resumed"] is False
    taken = await second.session()
    await again.send(frame(320, 2))
    await taken.until(AudioIn)
    await again.socket.close()
    assert taken.opening.recording == hosted.opening.recording
    assert await samples(world, taken.opening.recording) == [1] * 320 + [2] * 320


async def test_sound_that_the_client_does_not_place_goes_on_where_it_stopped(world: World) -> None:
    host = await world.host()
    client = await world.connect(**OURS)
    await client.hello(session_id="s1")
    hosted = await host.session()
    sound = base64.b64encode(struct.pack("<h", 500) * 24_000).decode()
    await client.send({"type": "input_audio_buffer.append", "audio": sound})
    heard = await hosted.until(AudioIn)
    client.socket.transport.abort()
    again = await world.connect(**OURS)
    await again.hello(session_id="s1")
    await again.send({"type": "input_audio_buffer.append", "audio": sound})
    assert (await hosted.until(AudioIn)).position == heard.position + len(heard.pcm) // 2


async def test_another_token_of_the_same_person_takes_their_session_up_and_nobody_elses_does(world: World) -> None:
    for token, person in (("oo_000000a1_x", "7"), ("oo_000000a2_x", "7"), ("oo_000000b1_x", "8")):
        world.api.allow(token, person=person)
    host = await world.host()
    client = await world.connect(token="oo_000000a1_x", **OURS)
    await client.hello(audio="binary", session_id="s1")
    hosted = await host.session()
    await client.send(frame(0, 3))
    await hosted.until(AudioIn)  # it is hosted, and the gateway knows it
    client.socket.transport.abort()
    for stranger in ("oo_000000b1_x", TOKEN):
        other = await world.connect(token=stranger, **OURS)
        await other.send({"type": "openomni.hello", "version": "0.2.0", "session_id": "s1"})
        assert (await other.until("error"))["error"]["code"] == "session_taken"
    again = await world.connect(token="oo_000000a2_x", **OURS)
    assert (await again.hello(audio="binary", session_id="s1"))["resumed"] is True
    await again.send(frame(320, 4))
    await hosted.until(AudioIn)
    await again.socket.close()
    assert await samples(world, hosted.opening.recording) == [3] * 320 + [4] * 320


async def test_a_session_that_is_over_is_reopened_only_by_who_began_it(world: World) -> None:
    """However well somebody else knows its id; they aren't told whether it exists."""
    stranger = world.api.allow("oo_000000b1_x")
    host = await world.host()
    client = await world.connect(**OURS)
    session_id = (await client.hello())["session_id"]
    await host.session()
    await client.socket.close()
    world.api.makers[session_id] = TOKEN  # it was recorded
    for _ in range(2):
        other = await world.connect(token=stranger, **OURS)
        await other.send({"type": "openomni.hello", "version": "0.2.0", "session_id": session_id})
        error = (await other.until("error"))["error"]
        assert error["code"] == "session_taken"
        assert error["message"] == f"this token can't open the session {session_id!r}; make a new id"
    again = await world.connect(**OURS)
    assert (await again.hello(session_id=session_id))["session_id"] == session_id
    assert (await host.session()).opening.settings["resumed"] is True


async def test_a_token_of_a_device_does_not_stand_for_the_person(world: World) -> None:
    world.api.allow("oo_000000a1_x", person="7")
    world.api.allow("oo_000000a2_x", person="7", device="pi")
    host = await world.host()
    client = await world.connect(token="oo_000000a1_x", **OURS)
    await client.hello(session_id="s1")
    await host.session()
    other = await world.connect(token="oo_000000a2_x", **OURS)
    await other.send({"type": "openomni.hello", "version": "0.2.0", "session_id": "s1"})
    assert (await other.until("error"))["error"]["code"] == "session_taken"


async def test_a_token_that_expires_in_mid_session_does_not_end_it(world: World) -> None:
    world.api.allow("oo_000000a1_x", person="7", expires_at=time.time() + 1)
    world.api.allow("oo_000000a2_x", person="7")
    host = await world.host()
    client = await world.connect(token="oo_000000a1_x", **OURS)
    await client.hello(audio="binary", session_id="s1")
    hosted = await host.session()
    await client.send(frame(0, 1))
    assert (await client.until("error"))["error"]["code"] == "invalid_token"
    again = await world.connect(token="oo_000000a2_x", **OURS)
    assert (await again.hello(audio="binary", session_id="s1"))["resumed"] is True
    await again.send(frame(320, 2))
    await hosted.until(AudioIn)
    await hosted.until(AudioIn)
    await again.socket.close()
    assert await samples(world, hosted.opening.recording) == [1] * 320 + [2] * 320


async def test_what_the_client_shows_is_told_to_the_host_and_kept(world: World) -> None:
    host = await world.host()
    client = await world.connect(**OURS)
    await client.hello(audio="binary", session_id="s1")
    hosted = await host.session()
    jpeg = Frame(np.full((48, 64, 3), 90, np.uint8)).jpeg()
    await client.send({"type": "openomni.frame", "position": 800, "jpeg": base64.b64encode(jpeg).decode()})
    assert (await hosted.until(PictureIn)).jpeg == jpeg
    await client.socket.close()
    await samples(world, hosted.opening.recording)
    async with asyncio.timeout(5):
        while len(world.api.completed) < 2:
            await asyncio.sleep(0.01)
    (film,) = set(world.api.recordings) - {hosted.opening.recording}
    await samples(world, film)
    assert jpeg in world.api.recordings[film], "as it came, no pixel touched"


async def gateway_process(world: World, folder: Path) -> tuple[asyncio.subprocess.Process, str]:
    """One of its own that has the bus, and its address."""
    (folder / "secrets.json").write_text(json.dumps({"django": "-", "server": SECRET, "bus": world.authority.seeds}))
    process = await start(folder, "--api", world.api.url, "--bus", world.server.url, "--port", "0")
    assert process.stdout
    async with asyncio.timeout(20), httpx.AsyncClient(trust_env=False) as web:
        url = (await process.stdout.readline()).decode().split()[-1]
        while (await web.get(f"{url}/healthz")).json()["bus"] != "ok":
            await asyncio.sleep(0.02)
    return process, url


async def test_the_host_of_the_next_gateway_hears_what_was_being_said_when_one_was_killed(
    world: World, tmp_path: Path
) -> None:
    host = await world.host()
    headers = {"Authorization": f"Bearer {TOKEN}", "OpenOmni-Version": "0.2.0", "OpenOmni-Wait-For-Agent": "1"}
    process, url = await gateway_process(world, tmp_path)
    async with connect(f"{url.replace('http', 'ws')}/v1/realtime?model=local", additional_headers=headers) as socket:
        client = Client(socket)
        await client.hello(audio="binary", session_id="s1")
        hosted = await host.session()
        for place in range(10):
            await client.send(frame(320 * place, place))
        await hosted.answer("01" * 16)
        await client.until("openomni.turn.done")
        for place in range(30, 60):
            await client.send(frame(320 * place, place))
        await hosted.emit(SpeechStarted("02" * 16, 12_800))
        await client.until("input_audio_buffer.speech_started")
        spooled = tmp_path / "spool" / "gateway" / "recordings" / f"{hosted.opening.recording}.wav"
        async with asyncio.timeout(10):
            while spooled.stat().st_size < 44 + 640 * 60:
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    process, url = await gateway_process(world, tmp_path)
    async with connect(f"{url.replace('http', 'ws')}/v1/realtime?model=local", additional_headers=headers) as socket:
        client = Client(socket)
        welcome = await client.hello(audio="binary", session_id="s1")
        assert (welcome["resumed"], welcome["again_from"]) == (False, 9600)
        hosted = await host.session()
        assert [(each.turn_id, each.start, each.end) for each in hosted.opening.unfinished] == [
            ("02" * 16, 12_800, None)
        ]
        await client.send(frame(320 * 60, 60))
        heard: dict[int, int] = {}
        while 320 * 60 not in heard:
            event = await hosted.until(AudioIn)
            values = np.frombuffer(event.pcm, "<i2")
            heard |= {event.position + at: int(values[at]) for at in range(0, len(values), 320)}
        assert heard == {320 * place: place for place in range(30, 61)}, "all that was not answered, once"
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await process.wait()


@pytest.mark.parametrize(
    "parked", [pytest.param(False, marks=pytest.mark.long), True], ids=["connected", "away for a moment"]
)
async def test_after_a_stop_in_order_nothing_that_was_answered_is_heard_again(
    world: World, tmp_path: Path, parked: bool
) -> None:
    host = await world.host()
    headers = {"Authorization": f"Bearer {TOKEN}", "OpenOmni-Version": "0.2.0", "OpenOmni-Wait-For-Agent": "1"}
    process, url = await gateway_process(world, tmp_path)
    async with connect(f"{url.replace('http', 'ws')}/v1/realtime?model=local", additional_headers=headers) as socket:
        client = Client(socket)
        await client.hello(audio="binary", session_id="s1", recording_id="r")
        hosted = await host.session()
        for place in range(30):
            await client.send(frame(320 * place, place))
        await hosted.answer("01" * 16)
        await client.until("openomni.turn.done")
        for place in range(30, 60):
            await client.send(frame(320 * place, place))
        await hosted.emit(SpeechStarted("02" * 16, 12_800))
        await client.until("input_audio_buffer.speech_started")
        if parked:
            socket.transport.abort()
            await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        await hosted.until(SessionClose)
        # What its host says of its end changes nothing: nobody hears it.
        await hosted.emit(TurnDone("02" * 16, b'{"turn_id":"x"}'))
    async with asyncio.timeout(10):
        await process.wait()
    process, url = await gateway_process(world, tmp_path)
    async with connect(f"{url.replace('http', 'ws')}/v1/realtime?model=local", additional_headers=headers) as socket:
        client = Client(socket)
        welcome = await client.hello(audio="binary", session_id="s1", recording_id="r")
        assert (welcome["resumed"], welcome["again_from"]) == (False, 9600)
        hosted = await host.session()
        assert [each.turn_id for each in hosted.opening.unfinished] == ["02" * 16]
        for place in range(20, 61):  # a client that says more again than it is asked to, as the talk page does
            await client.send(frame(320 * place, place))
        heard: list[int] = []
        while 320 * 60 not in heard:
            heard.append((await hosted.until(AudioIn)).position)
        assert heard == [320 * place for place in range(30, 61)]
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await process.wait()


@pytest.mark.long
async def test_what_a_killed_gateway_had_recorded_goes_up_at_the_next_start(world: World, tmp_path: Path) -> None:
    host = await world.host()
    process, url = await gateway_process(world, tmp_path)
    headers = {"Authorization": f"Bearer {TOKEN}", "OpenOmni-Version": "0.2.0"}
    async with connect(f"{url.replace('http', 'ws')}/v1/realtime?model=local", additional_headers=headers) as socket:
        client = Client(socket)
        await client.hello(audio="binary", session_id="s1")
        hosted = await host.session()
        await client.send(frame(0, 9))
        await hosted.until(AudioIn)
        spooled = tmp_path / "spool" / "gateway" / "recordings" / f"{hosted.opening.recording}.wav"
        async with asyncio.timeout(10):
            while spooled.stat().st_size < 44 + 640:
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    world.api.tokens.clear()  # its client never comes back, nor does its token
    process, _ = await gateway_process(world, tmp_path)
    assert await samples(world, hosted.opening.recording) == [9] * 320
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        await process.wait()
