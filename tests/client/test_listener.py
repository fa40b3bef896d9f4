"""A listener's session, from the captured file to the turns, against a server that a test scripts."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette import requests as web
from starlette.responses import JSONResponse, Response

from ground.damaged import with_clicks, write
from openomni import clock
from openomni.client.connection import Link
from openomni.client.listener.listen import Request, listen, resume_uploads
from openomni.client.listener.listener import ECHO_TAIL_S, HELD_S, Listener, Told
from openomni.client.listener.sources import BLOCK, BLOCK_S, Block, Captured, ChosenTracks, NoSpeech
from openomni.client.replies import ReplyFolder
from openomni.client.responder.sinks import VirtualSpeaker
from openomni.client.wire import ReplyChunk
from openomni.errors import OpenOmniError
from openomni.events import AXIS_RATE
from openomni.media import Audio
from openomni.storage.api import Unreachable
from openomni.storage.spool import Spool, SpoolRecording, new_recording
from scripted_server import TOKEN, Connection, ScriptedServer, close

TURN = "ab" * 16
SPEECH = Audio(np.full(AXIS_RATE // 2, 0.5, np.float32), AXIS_RATE)
REPLY = Audio(np.full(2205, 0.25, np.float32), 22050)


def turn(**more: Any) -> dict[str, Any]:
    return {"turn_id": TURN, "session_id": "5e55", "index": 0, "version": 1, "pipeline": "local", "status": "completed",
            "transcript": "hello", "reply_text": "hi", "reply_audio": "r1", "heard_at": "host", **more}  # fmt: skip


class Heard:
    """What the listener told a person."""

    def __init__(self) -> None:
        self.turns: list[dict[str, Any]] = []
        self.notices: list[str] = []
        self.told = Told(self.turns.append, self.notices.append)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def request_(server: ScriptedServer, tmp_path: Path) -> Request:
    speech = SPEECH.save(tmp_path / "speech.wav")
    return Request(server.url, TOKEN, "local", f"file:{speech}", replies=tmp_path / "replies", spool=tmp_path / "spool")


async def answer(connection: Connection) -> None:
    """Answers once all is said, waits until the reply was heard, and closes."""
    await connection.until("openomni.audio_end")
    await say_reply(connection)
    await connection.say("openomni.turn.done", turn=turn())
    report = await connection.until("openomni.playback", ended=True)
    await connection.say(
        "openomni.turn.done", turn=turn(version=2, heard_at="client", voice_to_voice_s=report["audible"])
    )
    await close(connection)


async def say_reply(connection: Connection, audio: Audio = REPLY) -> None:
    await connection.reply(ReplyChunk(TURN, audio.rate, 0, audio.pcm16()))
    await connection.say("response.done", response={"id": f"resp_{TURN}", "status": "completed"})


async def test_a_question_from_a_file_gets_its_turn_and_its_spoken_reply(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    server.script = answer
    before = clock.now()
    outcome = await listen(request_, heard.told)

    (connection,) = server.connections
    positions = [position for position, _, _ in connection.sound]
    assert positions == list(range(0, len(positions) * BLOCK, BLOCK))
    assert positions[-1] + BLOCK == 1.5 * AXIS_RATE  # the file, and a second for turn detection
    stamps = [captured - position / AXIS_RATE for position, captured, _ in connection.sound]
    assert max(stamps) - min(stamps) < 1e-6
    assert before < stamps[0] < clock.now()

    (done,) = outcome.turns
    assert heard.turns == [done]  # told once, when it was known how it was heard
    assert done["heard_at"] == "client"
    saved = Audio.load(done["reply_audio"])
    assert (saved.rate, saved.duration) == (22050, 0.1)

    audible, ended = connection.of("openomni.playback")
    assert ended["started"] <= audible["audible"] <= ended["started"] + 0.01
    assert ended["seconds"] == pytest.approx(0.1)


async def test_the_file_is_uploaded_as_it_is_under_the_sessions_recording(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    await_turns = dataclasses.replace(request_, wait=False)
    outcome = await listen(await_turns, heard.told)
    stored = server.recordings[server.connections[0].hello["recording_id"]]
    assert stored.complete
    assert stored.data == Path(request_.source.removeprefix("file:")).read_bytes()
    assert stored.meta["session_id"] == outcome.session_id == "5e55"
    assert list((request_.spool or Path()).iterdir()) == []


async def test_when_nobody_found_speech_it_is_said_and_the_recording_is_kept(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    with pytest.raises(NoSpeech, match=r"no speech found in .*speech.wav"):
        await listen(request_, heard.told)
    assert all(stored.complete for stored in server.recordings.values())


async def test_time_points_turn_detection_off_and_commit_each_piece(
    server: ScriptedServer, request_: Request, heard: Heard, tmp_path: Path
) -> None:
    long = Audio.join([SPEECH] * 3).save(tmp_path / "long.wav")
    cut = dataclasses.replace(request_, source=f"file:{long}", time_points=[0.5, 1.0], wait=False)
    await listen(cut, heard.told)
    (connection,) = server.connections
    kinds = [event["type"] for event in connection.events]
    assert kinds[1] == "session.update"
    assert connection.events[1]["session"]["audio"]["input"]["turn_detection"] is None
    assert kinds.count("input_audio_buffer.commit") == 3
    assert len(connection.sound) * BLOCK == 1.5 * AXIS_RATE


async def test_what_is_said_while_the_line_is_down_is_sent_when_it_stands_again(
    server: ScriptedServer, request_: Request, heard: Heard, tmp_path: Path
) -> None:
    said = Audio(np.linspace(0.1, 0.9, 2 * AXIS_RATE), AXIS_RATE)  # each block is another

    async def script(connection: Connection) -> None:
        if len(server.connections) > 1:
            await answer(connection)

    server.script = script
    file = said.save(tmp_path / "said.wav")
    down = asyncio.Event()

    def notice(line: str) -> None:
        heard.notices.append(line)
        down.set()

    told = Told(heard.told.turn, notice)
    listening = asyncio.create_task(listen(dataclasses.replace(request_, source=f"file:{file}"), told))
    first = await server.connected.get()
    while len(first.sound) < 10:
        await first.arrived.get()
    await server.stop()
    await down.wait()
    await server.start()
    outcome = await listening

    again = server.connections[1]
    assert again.hello["session_id"] == "5e55"
    whole = {position: pcm for position, _, pcm in [*first.sound, *again.sound]}
    assert sorted(whole) == [number * BLOCK for number in range(len(whole))]
    assert b"".join(whole[position] for position in sorted(whole))[: 4 * AXIS_RATE] == said.pcm16()
    positions = [position for position, _, _ in again.sound]
    assert positions == list(range(positions[0], positions[-1] + 1, BLOCK))
    assert positions[0] <= first.sound[-1][0]  # what may have been lost on the way comes again
    assert [done["turn_id"] for done in outcome.turns] == [TURN]
    assert (await server.completed(first.hello["recording_id"])).data == file.read_bytes()
    assert any("connected again" in notice for notice in heard.notices)
    assert not any("not heard live" in notice for notice in heard.notices)


@pytest.mark.parametrize("again_from", [0, 3 * BLOCK])
async def test_what_nobody_answered_is_sent_again_from_where_the_gateway_says(
    server: ScriptedServer, request_: Request, heard: Heard, tmp_path: Path, again_from: int
) -> None:
    said = Audio(np.linspace(0.1, 0.9, 3 * AXIS_RATE), AXIS_RATE)

    async def script(connection: Connection) -> None:
        if len(server.connections) > 1:
            await answer(connection)

    server.script = script
    file = said.save(tmp_path / "said.wav")
    listening = asyncio.create_task(listen(dataclasses.replace(request_, source=f"file:{file}"), heard.told))
    first = await server.connected.get()
    while len(first.sound) < 130:  # more than is sent again where nothing is said
        await first.arrived.get()
    server.again_from = again_from
    await server.stop()
    await server.start()
    await listening
    again = server.connections[1]
    assert again.sound[0][0] == again_from
    positions = [position for position, _, _ in again.sound]
    assert positions == list(range(positions[0], positions[-1] + 1, BLOCK))


@pytest.mark.parametrize("resumes", [False, True])
async def test_a_gateway_that_does_not_know_us_is_told_who_ends_the_turns_before_it_hears_sound(
    server: ScriptedServer, request_: Request, heard: Heard, tmp_path: Path, resumes: bool
) -> None:
    long = Audio.join([SPEECH] * 3).save(tmp_path / "long.wav")
    cut = dataclasses.replace(request_, source=f"file:{long}", time_points=[1.0], wait=False)
    server.resumes = resumes

    async def script(connection: Connection) -> None:
        if len(server.connections) > 1:
            await connection.arrived.get()  # the clock

    server.script = script
    listening = asyncio.create_task(listen(cut, heard.told))
    first = await server.connected.get()
    while len(first.sound) < 5:
        await first.arrived.get()
    await server.stop()
    await server.start()
    await listening
    (_, again) = server.connections
    arrived = [again.arrived.get_nowait() for _ in range(again.arrived.qsize())]
    kinds = ["sound" if isinstance(item, tuple) else item["type"] for item in arrived if item != "left"]
    assert kinds[: 2 - resumes] == ["session.update", "sound"][resumes:]
    assert kinds.count("session.update") == (not resumes)
    assert kinds.count("input_audio_buffer.commit") == 2
    assert kinds[-1] == "openomni.audio_end"


async def test_a_line_that_stays_away_holds_no_more_than_half_a_minute_of_sound(
    server: ScriptedServer, heard: Heard, tmp_path: Path
) -> None:
    class Flood(Room):
        async def capture(self) -> AsyncIterator[Captured]:
            for number in range(round(HELD_S / BLOCK_S) + 100):
                yield Block(number * BLOCK, number * BLOCK_S, bytes(2 * BLOCK))

    async with Link(server.url, TOKEN, "/v1/realtime", {}) as link:
        link._socket = None  # down, and nobody makes it again
        listener = Listener(link, Flood(), VirtualSpeaker, ReplyFolder(tmp_path), heard.told,
                            reports=False, full_duplex=True, wait=True)  # fmt: skip
        await listener._capture()
    assert listener.undelivered.seconds == pytest.approx(101 * BLOCK_S)


async def test_a_reply_that_was_cut_falls_silent_and_the_cut_is_reported(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    async def interrupt(connection: Connection) -> None:
        await connection.until("openomni.audio_end")
        await say_reply(connection, Audio(np.full(220500, 0.25, np.float32), 22050))
        await connection.until("openomni.playback")
        await connection.say("openomni.turn.done", turn=turn(interrupted=True))
        report = await connection.until("openomni.playback", ended=True)
        assert report["seconds"] < 10.0
        await close(connection)

    server.script = interrupt
    outcome = await listen(request_, heard.told)
    assert outcome.turns[0]["interrupted"]


async def test_a_session_that_the_server_ends_early_is_an_error_after_its_turns(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    async def fail(connection: Connection) -> None:
        await connection.say("openomni.turn.done", turn=turn(reply_audio=""))
        await close(connection, "no agent is left")

    server.script = fail
    with pytest.raises(OpenOmniError, match="ended early: no agent is left"):
        await listen(request_, heard.told)
    assert [done["transcript"] for done in heard.turns] == ["hello"]


async def test_without_an_agent_it_says_so_at_once_or_waits_when_asked(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    server.problems = ["no agent offers llm:simulated"]
    with pytest.raises(OpenOmniError, match="no agent offers llm:simulated"):
        await listen(request_, heard.told)
    assert server.connections == []

    def arrive(line: str) -> None:
        heard.notices.append(line)
        server.problems = []

    server.script = answer
    waiting = dataclasses.replace(request_, wait_for_agent=True)
    outcome = await listen(waiting, Told(heard.told.turn, arrive))
    assert len(outcome.turns) == 1
    assert heard.notices == ["waiting: no agent offers llm:simulated"]


async def test_what_an_earlier_run_left_is_uploaded_by_the_next(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    left = Spool(request_.spool, server.url, TOKEN).record(new_recording("audio", "audio/wav"), ".wav")
    left.append(b"from yesterday")
    left.release()
    await listen(dataclasses.replace(request_, wait=False), heard.told)
    assert server.recordings[left.id].data == b"from yesterday"


async def test_resume_uploads_does_that_and_nothing_else(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    left = Spool(request_.spool, server.url, "oo_ffffffff_old").record(new_recording("audio", "audio/wav"), ".wav")
    left.append(b"with a token that is no more")
    left.release()
    outcome = await resume_uploads(server.url, TOKEN, request_.spool, heard.told)
    assert outcome.left == 0
    assert server.recordings[left.id].complete
    assert server.connections == []


async def test_the_fast_pace_uploads_queues_and_fetches_the_replies(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    path = REPLY.save((request_.replies.parent) / "spoken.wav")
    await _store(server, "r1", path.read_bytes())
    server.turns = [turn()]
    outcome = await listen(dataclasses.replace(request_, pace="fast"), heard.told)
    (queued,) = server.queued
    assert server.recordings[queued["recording_id"]].complete
    assert queued["spans"] is None
    assert Path(outcome.turns[0]["reply_audio"]).read_bytes() == path.read_bytes()


async def test_at_the_fast_pace_too_it_is_told_what_is_wrong_with_the_file(
    server: ScriptedServer, request_: Request, heard: Heard, tmp_path: Path
) -> None:
    path = write(tmp_path / "hole.mkv", [(0.0, with_clicks(1.0, 0.5)), (4.0, with_clicks(1.0, 0.5))])
    server.turns = [turn(reply_audio="")]
    fast = dataclasses.replace(request_, source=f"file:{path}", pace="fast", tracks=ChosenTracks(audio=1))
    await listen(fast, heard.told)
    assert ["has a hole of 3" in notice for notice in heard.notices] == [True]
    (stored,) = server.recordings.values()
    assert stored.meta["audio_track"] == 1


async def test_the_reply_of_a_queued_turn_is_fetched_once_all_of_it_is_there(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    whole = REPLY.save((request_.replies.parent) / "spoken.wav").read_bytes()
    await _store(server, "r1", whole[:1000])
    server.recordings["r1"].complete = False
    server.turns = [turn()]
    listening = asyncio.create_task(listen(dataclasses.replace(request_, pace="fast"), heard.told))
    while await server.asked.get() != "r1":
        continue
    await _store(server, "r1", whole)
    (answered,) = (await listening).turns
    assert Path(answered["reply_audio"]).read_bytes() == whole


async def test_the_api_may_restart_while_the_turns_are_waited_for(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    whole = REPLY.save((request_.replies.parent) / "spoken.wav").read_bytes()
    await _store(server, "r1", whole)
    failed: set[str] = set()

    def each_fails_once(asked: web.Request) -> Response | None:
        what = f"{asked.method} {asked.url.path}"
        if what.endswith("/resolve") or what in failed:
            return None
        failed.add(what)
        return JSONResponse({"error": "the API is not answering"}, 502)

    server.on_request = each_fails_once
    server.turns = [turn()]
    outcome = await listen(dataclasses.replace(request_, pace="fast"), heard.told)
    assert Path(outcome.turns[0]["reply_audio"]).read_bytes() == whole
    assert len(server.queued) == 1
    assert {"POST /api/v1/turns/queue", "GET /api/v1/turns", "GET /api/v1/recordings/r1/content"} <= failed
    assert {notice.rpartition("; ")[0] for notice in heard.notices[::2]} == {
        f"{server.url} answers 502 (the API is not answering)"
    }
    assert set(heard.notices[1::2]) == {f"{server.url} is back"}


async def test_a_server_that_comes_back_after_the_capture_gets_all_of_it(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    async def script(connection: Connection) -> None:
        await connection.until("openomni.audio_end")
        server.on_request = lambda asked: JSONResponse({"error": "the API is not answering"}, 502)
        await close(connection)

    def notice(line: str) -> None:
        heard.notices.append(line)
        server.on_request = lambda asked: None

    server.script = script
    outcome = await listen(dataclasses.replace(request_, wait=False), Told(heard.told.turn, notice))
    assert outcome.left == 0
    assert all(stored.complete for stored in server.recordings.values())


async def test_resuming_uploads_fails_at_once_when_the_server_is_away_from_the_start(
    server: ScriptedServer, request_: Request, heard: Heard
) -> None:
    left = Spool(request_.spool, server.url, TOKEN).record(new_recording("audio", "audio/wav"), ".wav")
    left.append(b"from yesterday")
    left.release()
    await server.stop()
    with pytest.raises(Unreachable, match="cannot reach"):
        await resume_uploads(server.url, TOKEN, request_.spool, heard.told)
    assert heard.notices == []
    await server.start()


async def _store(server: ScriptedServer, recording_id: str, data: bytes) -> None:
    from scripted_server import Stored

    server.recordings[recording_id] = Stored({}, bytearray(data), complete=True)


class Room:
    """A source that hears loud sound all the time, as a microphone in a noisy room does."""

    label, decides_turns, ambient = "room", False, True

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    def check(self) -> None: ...

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[SpoolRecording]:
        return []

    def stop(self) -> None:
        self.stopped.set()

    async def capture(self) -> AsyncIterator[Captured]:
        began, position = clock.now(), 0
        while not self.stopped.is_set():
            stamp = began + position / AXIS_RATE
            await asyncio.sleep(max(stamp + BLOCK_S - clock.now(), 0))
            yield Block(position, stamp, b"\0\x40" * BLOCK)
            position += BLOCK


@pytest.mark.parametrize("full_duplex", [False, True])
async def test_beside_a_loudspeaker_the_agent_does_not_hear_itself(
    server: ScriptedServer, heard: Heard, tmp_path: Path, full_duplex: bool
) -> None:
    async def talk(connection: Connection) -> None:
        await _sound(connection, lambda pcm: any(pcm))
        await say_reply(connection, Audio(np.full(4410, 0.25, np.float32), 22050))
        if not full_duplex:
            await _sound(connection, lambda pcm: not any(pcm))
            await _sound(connection, lambda pcm: any(pcm))
        room.stop()
        await connection.until("openomni.audio_end")
        await close(connection)

    room, server.script = Room(), talk
    async with Link(server.url, TOKEN, "/v1/realtime", {}) as link:
        listener = Listener(link, room, VirtualSpeaker, ReplyFolder(tmp_path), heard.told,
                            reports=False, full_duplex=full_duplex, wait=True)  # fmt: skip
        await listener.run()
    (connection,) = server.connections
    muted = [captured for _, captured, pcm in connection.sound if not any(pcm)]
    if full_duplex:
        assert muted == []
    else:
        assert muted[-1] - muted[0] == pytest.approx(0.2 + ECHO_TAIL_S, abs=2 * BLOCK_S)
    assert connection.of("openomni.playback") == []  # a responder in the room reports, not we


async def _sound(connection: Connection, wanted: Callable[[bytes], bool]) -> None:
    while not (isinstance(item := await connection.arrived.get(), tuple) and wanted(item[2])):
        pass
