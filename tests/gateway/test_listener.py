"""Clients that opted in: binary sound, clocks, playback reports, coming back, and hosts that die."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
import uuid
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed

from openomni.bus.records import consume
from openomni.events import (
    AudioEnd,
    AudioIn,
    Commit,
    Heard,
    PictureIn,
    Played,
    ReplyEnd,
    ReplySound,
    ReplyText,
    SessionChange,
    SessionClose,
    SessionEnded,
    SpeechStarted,
    SpeechStopped,
)
from openomni.gateway import hosted_session
from openomni.media import Frame
from openomni.records import BrokenOffRecord

PICTURE = Frame(np.full((8, 8, 3), 90, np.uint8)).jpeg()


def frame(position: int, captured: float = 0.0, samples: int = 320) -> bytes:
    return struct.pack("<Qd", position, captured) + bytes(2 * samples)


async def closed(client: Any) -> ConnectionClosed:
    """Reads until the gateway closes the connection."""
    async with asyncio.timeout(10):
        while True:
            try:
                await client.next()
            except ConnectionClosed as end:
                return end


async def test_sound_reaches_the_host_with_its_place_and_time_on_the_gateways_clock(world: Any) -> None:
    host = await world.host()
    researcher = world.api.allow("oo_0000eeee_wide", "device", "viewer")
    client = await world.connect("/v1/realtime?model=local&site=ward-3", researcher, OpenOmni_Version="0.2.0")
    welcome = await client.hello(audio="binary", source="mic", recording_id="rec1", session_id="abc")
    assert (welcome["session_id"], welcome["min_version"]) == ("abc", "0.2.0")
    await client.send({"type": "openomni.ping", "sent": 1.5})
    pong = await client.until("openomni.pong")
    assert pong["sent"] == 1.5
    assert welcome["clock"] <= pong["received"] <= pong["sent_back"]
    await client.send({"type": "openomni.clock", "offset": 1000.0, "uncertainty": 0.002})
    await client.send(frame(16_000, captured=5.0))
    await client.send({"type": "openomni.frame", "position": 16_100, "jpeg": base64.b64encode(PICTURE).decode()})
    await client.send({"type": "openomni.audio_end"})
    hosted = await host.session()
    opening = hosted.opening
    assert (opening.site, opening.source, opening.recording) == ("ward-3", "mic", "rec1")
    assert opening.pipeline_hash
    sound = await hosted.until(AudioIn)
    assert (sound.position, sound.captured, len(sound.pcm)) == (16_000, 1005.0, 640)
    assert (await hosted.until(PictureIn)).jpeg == PICTURE
    await hosted.until(AudioEnd)


async def test_replies_come_as_binary_frames_and_turns_as_records(world: Any) -> None:
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", recording_id="r")
    hosted = await host.session()
    turn_id = uuid.uuid4().hex
    await hosted.answer(turn_id)
    frames = []
    while True:
        message = await client.next()
        if isinstance(message, bytes):
            frames.append(struct.unpack_from("<16sIQ", message))
        elif message["type"] == "openomni.turn.done":
            break
    assert [(turn.hex(), rate, offset) for turn, rate, offset in frames] == [
        (turn_id, 22_050, 0),
        (turn_id, 22_050, 2205),
    ]
    assert message["turn"] == {"turn_id": turn_id}
    assert not any(event["type"] == "response.output_audio.delta" for event in client.seen)
    await client.send({"type": "openomni.clock", "offset": 10.0, "uncertainty": 0.01})
    await client.send({"type": "openomni.playback", "turn_id": turn_id, "started": 1.0, "audible": 1.1,
                       "seconds": 0.2, "ended": True})  # fmt: skip
    assert await hosted.until(Played) == Played(turn_id, 11.0, 11.1, 0.2, True, 0.01)
    await hosted.emit(ReplyEnd(turn_id, "cancelled", "the person spoke"))
    while (await client.until("openomni.reply.ended"))["status"] != "cancelled":
        pass
    await hosted.emit(SessionEnded())
    await client.until("openomni.session.ended")
    assert (await closed(client)).rcvd.code == 1000


async def test_its_commit_is_its_request(world: Any) -> None:
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", recording_id="r")
    await client.send({"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}})
    await client.send(frame(0))
    await client.send({"type": "input_audio_buffer.commit"})
    hosted = await host.session()
    assert (await hosted.until(SessionChange)).turn_detection is False
    await hosted.until(AudioIn)
    await hosted.until(Commit)


async def test_a_client_that_wants_no_output_gets_events_only(world: Any) -> None:
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", output=False, recording_id="r")
    hosted = await host.session()
    await hosted.answer(uuid.uuid4().hex)
    await client.until("openomni.turn.done")
    assert any(event["type"] == "response.output_audio_transcript.done" for event in client.seen)


async def test_the_client_that_says_goodbye_ends_the_session(world: Any) -> None:
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(recording_id="r")
    hosted = await host.session()
    await client.socket.close()
    await hosted.until(SessionClose)


async def test_a_client_whose_connection_broke_takes_its_session_up_again(world: Any) -> None:
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", recording_id="r", session_id="s1")
    hosted = await host.session()
    await client.send(frame(0))
    await hosted.until(AudioIn)
    client.socket.transport.abort()
    again = await world.connect(OpenOmni_Version="0.2.0")
    await again.hello(audio="binary", recording_id="r", session_id="s1")
    await again.send(frame(320))
    assert (await hosted.until(AudioIn)).position == 320
    turn_id = uuid.uuid4().hex
    await hosted.answer(turn_id)
    assert (await again.until("openomni.turn.done"))["turn"] == {"turn_id": turn_id}
    assert host.opened.empty(), "the host that had it goes on with it"


async def test_what_the_client_set_is_still_in_force_when_it_comes_back(world: Any) -> None:
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    welcome = await client.hello(recording_id="r", session_id="s1")
    assert (welcome["session_id"], welcome["resumed"]) == ("s1", False)
    await host.session()
    manual = {"type": "realtime", "instructions": "Be brief.", "audio": {"input": {"turn_detection": None}}}
    await client.send({"type": "session.update", "session": manual})
    updated = await client.until("session.updated")
    client.socket.transport.abort()
    again = await world.connect(OpenOmni_Version="0.2.0")
    assert (await again.hello(recording_id="r", session_id="s1"))["resumed"] is True
    assert (await again.until("session.created"))["session"] == updated["session"]


async def test_a_second_connection_of_the_same_session_replaces_the_first(world: Any) -> None:
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(recording_id="r", session_id="s1")
    hosted = await host.session()
    await client.send(frame(0))
    await hosted.until(AudioIn)  # the gateway knows by now that it is hosted
    again = await world.connect(OpenOmni_Version="0.2.0")
    await again.hello(audio="binary", recording_id="r", session_id="s1")
    assert (await closed(client)).rcvd.reason == "the session goes on on another connection"
    await again.send(frame(320))
    assert (await hosted.until(AudioIn)).position == 320


async def test_nobody_elses_session_is_taken_over(world: Any) -> None:
    world.api.allow("oo_0000bbbb_other")
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(recording_id="r", session_id="s1")
    await host.session()
    other = await world.connect(token="oo_0000bbbb_other", OpenOmni_Version="0.2.0")
    await other.send({"type": "openomni.hello", "version": "0.2.0", "session_id": "s1", "recording_id": "r"})
    assert (await other.until("error"))["error"]["code"] == "session_taken"
    await client.send({"type": "openomni.ping", "sent": 0.0})
    await client.until("openomni.pong")


async def test_when_the_host_dies_another_goes_on_with_what_was_not_answered(world: Any) -> None:
    first = await world.host("host1")
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", recording_id="r")
    hosted = await first.session()
    for position in range(0, 16_000, 320):
        await client.send(frame(position))
    turn_id = uuid.uuid4().hex
    await hosted.emit(SpeechStarted(turn_id, 320), SpeechStopped(turn_id, 6400))
    await hosted.emit(ReplyEnd(turn_id, "completed"))
    await client.until("response.done")
    unanswered = uuid.uuid4().hex
    await hosted.emit(SpeechStarted(unanswered, 8000), SpeechStopped(unanswered, 12_000))
    await client.until("input_audio_buffer.speech_stopped")
    second = await world.host("host2")
    await first.vanish()
    assert (await client.until("error"))["error"]["code"] == "host_lost"
    assert (await client.until("openomni.session.ended"))["resuming"] is True
    await client.until("openomni.session.resumed")
    assert not [event for event in client.seen if event["type"] == "response.done"][1:], "its answer is still to come"
    resumed = await second.session()
    assert [(each.turn_id, each.start, each.end) for each in resumed.opening.unfinished] == [(unanswered, 8000, 12_000)]
    assert resumed.opening.settings["resumed"] is True
    assert resumed.opening.session_id == hosted.opening.session_id
    assert resumed.opening.input != hosted.opening.input, "a host that was only cut off is not heard again"
    assert (await resumed.until(AudioIn)).position == 6400
    await client.send(frame(16_000))
    await client.send({"type": "input_audio_buffer.commit"})
    await resumed.until(Commit)
    await resumed.answer(unanswered)
    assert (await client.until("response.done"))["response"]["status"] == "completed"
    assert (await client.until("openomni.turn.done"))["turn"] == {"turn_id": unanswered}


async def test_a_reply_that_was_heard_in_part_when_its_host_died_is_over_and_not_said_again(world: Any) -> None:
    recorded: asyncio.Queue[Any] = asyncio.Queue()

    async def take(batch: list[Any]) -> None:
        for record in batch:
            recorded.put_nowait(record)

    consuming = asyncio.create_task(consume(world.gateway.bus, take))
    first = await world.host("host1")
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", recording_id="r")
    hosted = await first.session()
    for position in range(0, 16_000, 320):
        await client.send(frame(position))
    turn_id = uuid.uuid4().hex
    await hosted.emit(
        SpeechStarted(turn_id, 320), SpeechStopped(turn_id, 6400, 320), Heard(turn_id, "what is up", True),
        ReplyText(turn_id, "All "), ReplySound(turn_id, 16_000, 0, 0.0, bytes(3200)),
    )  # fmt: skip
    while not isinstance(await client.next(), bytes):
        pass
    second = await world.host("host2")
    await first.vanish()
    assert (await client.until("response.done"))["response"]["status"] == "failed"
    resumed = await second.session()
    assert resumed.opening.unfinished == []
    assert (await resumed.until(AudioIn)).position == 6400
    async with asyncio.timeout(5):
        while not isinstance(record := await recorded.get(), BrokenOffRecord):
            pass
    assert (record.turn_id, record.given, record.transcript, record.reply_text) == (turn_id, True, "what is up", "All ")
    consuming.cancel()


async def test_when_nobody_takes_over_the_session_is_recorded_as_lost(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(hosted_session, "TAKEOVER_PATIENCE", 0.2)
    recorded: asyncio.Queue[Any] = asyncio.Queue()

    async def take(batch: list[Any]) -> None:
        for record in batch:
            recorded.put_nowait(record)

    consuming = asyncio.create_task(consume(world.gateway.bus, take))
    host = await world.host()
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", recording_id="r")
    hosted = await host.session()
    await host.vanish()
    assert (await client.until("error"))["error"]["code"] == "host_lost"
    assert "no other took it" in (await client.until("error"))["error"]["message"]
    async with asyncio.timeout(10):
        lost = await recorded.get()
    consuming.cancel()
    assert (lost.session_id, lost.status, lost.recordings) == (hosted.opening.session_id, "lost", ["r"])
    assert "is gone" in lost.reason


async def test_a_host_that_refuses_is_passed_over(world: Any) -> None:
    full = await world.host("host1")
    full.refuses = "no slot is free"
    other = await world.host("host2", offers=("stt:simulated", "llm:simulated"))
    await world.host("helper", offers=("tts:simulated",), roles=[])
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(recording_id="r")
    await other.session()


async def test_no_agent_is_said_at_once(world: Any) -> None:
    await world.host(offers=("stt:simulated",))
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.send({"type": "openomni.hello", "version": "0.2.0", "recording_id": "r"})
    line = (await client.until("error"))["error"]["message"]
    assert "llm:simulated, tts:simulated" in line
    assert "openomni agent --offer" in line
    assert (await closed(client)).rcvd.code == 4503
    plain = await world.connect()
    assert (await plain.until("error"))["error"]["code"] == "no_agent"


async def test_a_client_that_asked_for_it_waits_for_an_agent(world: Any) -> None:
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", recording_id="r", wait_for_agent=True)
    await client.send(frame(0))
    host = await world.host()
    assert (await (await host.session()).until(AudioIn)).position == 0


async def test_what_is_said_before_there_is_a_host_is_recorded_and_heard_by_the_first(world: Any) -> None:
    client = await world.connect(OpenOmni_Version="0.2.0")
    await client.hello(audio="binary", wait_for_agent=True)
    for position in range(0, 16_000, 320):
        await client.send(frame(position))
    recordings = world.folder / "spool" / "recordings"
    async with asyncio.timeout(10):
        while sum(file.stat().st_size for file in recordings.glob("*.wav")) < 44 + 32_000:
            await asyncio.sleep(0.01)
    hosted = await (await world.host()).session()
    heard = [(await hosted.until(AudioIn)).position for _ in range(50)]
    assert heard == list(range(0, 16_000, 320))


async def test_an_unknown_pipeline_is_answered_with_the_nearest(world: Any) -> None:
    client = await world.connect("/v1/realtime?model=locl")
    assert "did you mean 'local'?" in (await client.until("error"))["error"]["message"]
    assert (await closed(client)).rcvd.code == 4404


async def test_an_old_client_is_told_what_to_upgrade(world: Any) -> None:
    await world.host()
    client = await world.connect()
    await client.send({"type": "openomni.hello", "version": "0.0.9"})
    assert "./setup in its checkout" in (await client.until("error"))["error"]["message"]
    assert (await closed(client)).rcvd.code == 4426


async def test_a_token_that_expires_in_mid_session_ends_it_with_the_reason(world: Any) -> None:
    host = await world.host()
    world.api.allow("oo_0000cccc_short", expires_at=time.time() + 1.0)
    client = await world.connect(token="oo_0000cccc_short", OpenOmni_Version="0.2.0")
    await client.hello(recording_id="r")
    hosted = await host.session()
    end = await closed(client)
    assert end.rcvd.code == 4401
    assert "expired" in end.rcvd.reason
    assert "expired" in client.seen[-1]["reason"]
    await hosted.until(SessionClose)


async def test_a_client_that_sends_only_nonsense_is_sent_away(world: Any) -> None:
    await world.host()
    client = await world.connect()
    for _ in range(300):
        await client.socket.send("nonsense")
    assert (await closed(client)).rcvd.code == 4429
