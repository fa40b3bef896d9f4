"""Uploads go on until the server acknowledged every byte, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, Response

from openomni.storage import upload
from openomni.storage.api import Api
from openomni.storage.spool import Spool, SpoolRecording, new_recording
from openomni.storage.upload import PART_BYTES, Uploader
from scripted_server import TOKEN, ScriptedServer, Stored

SOUND = bytes(range(256)) * (3 * PART_BYTES // 256) + b"the end"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture
async def api(server: ScriptedServer) -> AsyncIterator[Api]:
    async with Api(server.url, TOKEN) as client:
        yield client


@pytest.fixture
def spool(server: ScriptedServer, tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", server.url, TOKEN)


def capture(spool: Spool, data: bytes = SOUND, ended: bool = True) -> SpoolRecording:
    recording = spool.record(new_recording("audio", "audio/wav", session_id="s"), ".wav")
    recording.append(data)
    if ended:
        recording.end()
    return recording


async def test_an_acknowledged_recording_is_whole_there_and_forgotten_here(
    server: ScriptedServer, api: Api, spool: Spool
) -> None:
    recording = capture(spool)
    async with Uploader(api) as uploader:
        refusal = await uploader.add(recording)
    assert refusal is None
    stored = server.recordings[recording.id]
    assert stored.data == SOUND
    assert stored.meta["session_id"] == "s"
    assert list(spool.folder.iterdir()) == []


async def test_a_growing_recording_is_uploaded_as_it_grows(server: ScriptedServer, api: Api, spool: Spool) -> None:
    recording = capture(spool, b"first", ended=False)
    async with Uploader(api) as uploader:
        task = uploader.add(recording)
        while not server.recordings or not server.recordings[recording.id].data:
            await asyncio.sleep(0.01)
        assert not task.done()
        recording.append(b" second")
        recording.end()
        await task
    assert server.recordings[recording.id].data == b"first second"


async def test_small_pieces_wait_for_a_part_that_is_worth_a_request(
    server: ScriptedServer, api: Api, spool: Spool
) -> None:
    parts: list[int] = []
    server.on_write = lambda stored: parts.append(len(stored.data))
    recording = capture(spool, b"first", ended=False)
    async with Uploader(api) as uploader:
        task = uploader.add(recording)
        while not parts:
            await asyncio.sleep(0.01)
        for _ in range(20):
            recording.append(b" piece")
            await asyncio.sleep(0.01)
        recording.end()
        await task
    assert len(parts) == 2
    assert server.recordings[recording.id].data == b"first" + 20 * b" piece"


async def test_what_has_ended_takes_two_requests(server: ScriptedServer, api: Api, spool: Spool) -> None:
    seen: list[str] = []
    server.on_request = lambda request: seen.append(request.method)  # type: ignore[func-returns-value]
    async with Uploader(api) as uploader:
        assert await uploader.add(capture(spool, b"short")) is None
    assert seen == ["PUT", "PATCH"]


async def test_a_server_of_before_seals_as_it_did(server: ScriptedServer, api: Api, spool: Spool) -> None:
    server.seals_by_parts = False
    recording = capture(spool)
    async with Uploader(api) as uploader:
        assert await uploader.add(recording) is None
    assert server.recordings[recording.id].complete


async def test_the_answer_to_the_last_part_is_lost(server: ScriptedServer, api: Api, spool: Spool) -> None:
    lost = []

    def once(stored: Stored) -> Response | None:
        if lost:
            return None
        lost.append(True)
        stored.data += SOUND
        stored.complete = True
        return JSONResponse({"error": "restarting"}, 503)

    server.on_write = once
    recording = capture(spool)
    async with Uploader(api) as uploader:
        assert await uploader.add(recording) is None
    assert server.recordings[recording.id].data == SOUND


async def test_a_break_in_the_middle_loses_and_repeats_nothing(server: ScriptedServer, api: Api, spool: Spool) -> None:
    failed = set()

    def every_part_fails_once(stored: Stored) -> Response | None:
        if len(stored.data) in failed:
            return None
        failed.add(len(stored.data))
        return JSONResponse({"error": "restarting"}, 503)

    server.on_write = every_part_fails_once
    recording = capture(spool)
    async with Uploader(api) as uploader:
        await uploader.add(recording)
    assert server.recordings[recording.id].data == SOUND


async def test_an_upload_goes_on_in_a_later_process_where_it_was(
    server: ScriptedServer, api: Api, spool: Spool
) -> None:
    recording = capture(spool)
    reached = asyncio.Event()

    def stuck_after_one_part(stored: Stored) -> Response | None:
        if not stored.data:
            return None
        reached.set()
        return JSONResponse({"error": "not now"}, 503)

    server.on_write = stuck_after_one_part
    async with Uploader(api) as uploader:
        uploader.add(recording)
        await reached.wait()
    assert len(server.recordings[recording.id].data) == PART_BYTES

    server.on_write = lambda stored: None
    (left,) = spool.waiting()
    async with Uploader(api) as uploader:
        uploader.add(left)
        assert await uploader.drain()
    assert server.recordings[recording.id].data == SOUND


async def test_bytes_that_differ_at_the_server_are_sent_again(server: ScriptedServer, api: Api, spool: Spool) -> None:
    recording = capture(spool)
    await api.create(recording.ticket.meta)
    server.recordings[recording.id].data += b"noise"
    async with Uploader(api) as uploader:
        assert await uploader.add(recording) is None
    assert server.recordings[recording.id].data == SOUND


async def test_a_refused_recording_stays_in_the_spool_and_says_why(server: ScriptedServer, spool: Spool) -> None:
    recording = capture(spool)
    async with Api(server.url, "oo_bad_token") as stranger, Uploader(stranger) as uploader:
        refusal = await uploader.add(recording)
        assert not await uploader.drain()
    assert "does not accept the token" in str(refusal)
    assert [left.id for left in spool.waiting()] == [recording.id]


async def test_waiting_for_a_server_that_is_away_ends_when_patience_does(
    server: ScriptedServer, api: Api, spool: Spool
) -> None:
    recording = capture(spool)
    await server.stop()
    async with Uploader(api) as uploader:
        uploader.add(recording)
        assert not await uploader.drain(patience_s=0.0)
        assert uploader.recordings == [recording]
        assert "cannot reach" in str(uploader.trouble)
    assert len(spool.waiting()) == 1
    await server.start()


async def test_a_person_is_told_once_that_the_server_is_away_and_once_that_it_is_back(
    server: ScriptedServer, api: Api, spool: Spool
) -> None:
    told: list[str] = []
    recordings = [capture(spool), capture(spool)]
    await server.stop()
    async with Uploader(api.patient(told.append)) as uploader:
        for recording in recordings:
            uploader.add(recording)
        while not told:
            await asyncio.sleep(0.01)
        await server.start()
        assert await uploader.drain(patience_s=60.0)
    away, back = told
    assert away.startswith(f"cannot reach {server.url}")
    assert away.endswith("what was recorded is kept, and goes up when it is back")
    assert back == f"{server.url} is back"


async def test_a_fault_of_the_server_is_not_waited_for_at_the_end_as_a_restart_is(
    server: ScriptedServer, api: Api, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "LAST_TRY_S", 0.0)
    server.on_write = lambda stored: JSONResponse({"error": "a mistake"}, 500)
    told: list[str] = []
    async with Uploader(api.patient(told.append)) as uploader:
        uploader.add(capture(spool))
        assert not await uploader.drain(patience_s=3600.0)
        assert "answers 500 (a mistake)" in str(uploader.trouble)
    assert told == []
