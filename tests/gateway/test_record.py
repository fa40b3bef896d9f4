"""Clients without a spool are recorded here, to the sample, and uploaded."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import numpy as np

from openomni.bus.records import consume
from openomni.events import AudioIn
from openomni.gateway.protocol import SDK_RATE
from openomni.gateway.record import Recorder
from openomni.records import AnyRecord, RecordingRecord

from .conftest import TOKEN, ScriptedApi, World


async def test_what_an_sdk_client_said_is_uploaded_and_recorded(world: World) -> None:
    host = await world.host()
    records: list[AnyRecord] = []

    async def take(batch: list[AnyRecord]) -> None:
        records.extend(batch)

    assert world.gateway
    consuming = asyncio.create_task(consume(world.gateway.bus, take))
    client = await world.connect()
    tone = (np.sin(np.arange(SDK_RATE) * 0.1) * 8000).astype("<i2").tobytes()
    await client.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(tone).decode()})
    hosted = await host.session()
    heard = await hosted.until(AudioIn)
    await client.socket.close()
    recording = hosted.opening.recording
    async with asyncio.timeout(10):
        while recording not in world.api.completed:
            await asyncio.sleep(0.01)
        await world.api.completed[recording].wait()
        while len(records) < 2:
            await asyncio.sleep(0.01)
    consuming.cancel()
    assert world.api.recordings[recording][44:] == heard.pcm
    last = records[-1]
    assert isinstance(last, RecordingRecord)
    assert (last.recording_id, last.samples, last.version) == (recording, len(heard.pcm) // 2, 2)


async def test_a_hole_is_silence_and_nothing_is_kept_twice(tmp_path: Path, api: ScriptedApi) -> None:
    recorder = Recorder(tmp_path, api.url, lambda record: None)
    tape = recorder.begin(TOKEN, project="default", session_id="s", device="", source="browser")
    for position, pcm in ((100, b"\1\0" * 10), (115, b"\2\0" * 10), (120, b"\3\0" * 10)):
        tape.add(position, pcm)
    await tape.end()
    async with asyncio.timeout(5):
        while tape.id not in api.completed:
            await asyncio.sleep(0.01)
        await api.completed[tape.id].wait()
    await recorder.close()
    samples = np.frombuffer(api.recordings[tape.id][44:], "<i2")
    assert samples.tolist() == [1] * 10 + [0] * 5 + [2] * 10 + [3] * 5


async def test_what_an_earlier_run_left_goes_up_when_its_token_comes_again(tmp_path: Path, api: ScriptedApi) -> None:
    away = Recorder(tmp_path, "http://127.0.0.1:9", lambda record: None)
    tape = away.begin(TOKEN, project="default", session_id="s", device="", source="browser")
    tape.add(0, bytes(64))
    await tape.end()
    await away.close()
    left = list(tmp_path.glob("*.json"))
    assert len(left) == 1
    left[0].write_text(left[0].read_text().replace("http://127.0.0.1:9", api.url))
    back = Recorder(tmp_path, api.url, lambda record: None)
    second = back.begin(TOKEN, project="default", session_id="t", device="", source="browser")
    async with asyncio.timeout(5):
        while tape.id not in api.completed:
            await asyncio.sleep(0.01)
        await api.completed[tape.id].wait()
    await second.end()
    await back.close()
