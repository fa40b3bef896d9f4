"""Clients without a spool are recorded here, to the sample, and uploaded."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import msgspec
import numpy as np
import pytest

from openomni.bus.records import consume
from openomni.events import AudioIn
from openomni.gateway.input_audio import MAX_LEAP
from openomni.gateway.protocol import SDK_RATE
from openomni.gateway.recorder import InputRecorder
from openomni.media import Frame, frames
from openomni.records import AnyRecord, RecordingRecord

from .conftest import SECRET, ScriptedApi, World, uploaded

SESSION = {"project": "default", "session_id": "s", "site": "", "device": "", "made_by": "", "source": "browser"}


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
    assert (await uploaded(world.api, recording))[44:] == heard.pcm
    async with asyncio.timeout(10):
        while len(records) < 3:
            await asyncio.sleep(0.01)
    consuming.cancel()
    last = records[-1]
    assert isinstance(last, RecordingRecord)
    assert (last.recording_id, last.samples, last.version) == (recording, len(heard.pcm) // 2, 3)


async def test_a_hole_is_silence_and_nothing_is_kept_twice(tmp_path: Path, api: ScriptedApi) -> None:
    told: list[AnyRecord] = []
    async with InputRecorder(
        tmp_path, api.url, SECRET, lambda record: told.append(msgspec.structs.replace(record))
    ) as recorder:
        tape = await recorder.begin(**SESSION)
        for position, pcm in ((100, b"\1\0" * 10), (115, b"\2\0" * 10), (120, b"\3\0" * 10)):
            tape.add(position, pcm)
        await tape.end()
        await uploaded(api, tape.id)
    samples = np.frombuffer(api.recordings[tape.id][44:], "<i2")
    assert samples.tolist() == [1] * 10 + [0] * 5 + [2] * 10 + [3] * 5
    places = [(each.position, each.samples) for each in told if isinstance(each, RecordingRecord)]
    assert places == [(0, None), (100, None), (100, 30)], "where it lies on the axis is known as soon as sound came"


@pytest.mark.parametrize("leaps", [1, 20])
async def test_positions_far_beyond_the_time_that_passed_do_not_fill_the_disk(
    tmp_path: Path, api: ScriptedApi, leaps: int
) -> None:
    async with InputRecorder(tmp_path, api.url, SECRET, lambda record: None) as recorder:
        tape = await recorder.begin(**SESSION)
        tape.add(0, b"\1\0")
        for number in range(leaps):
            tape.add((1 << 40) + number * (1 << 33), b"\2\0")
        await tape.end()
        await uploaded(api, tape.id)
    assert MAX_LEAP < (len(api.recordings[tape.id]) - 44) // 2 < 3 * MAX_LEAP


async def test_what_an_earlier_run_left_goes_up_at_the_next_start(tmp_path: Path, api: ScriptedApi) -> None:
    async with InputRecorder(tmp_path, "http://127.0.0.1:9", SECRET, lambda record: None) as away:
        tape = await away.begin(**SESSION)
        tape.add(0, bytes(64))
        await tape.end()
    assert len(list(tmp_path.glob("*.json"))) == 1
    async with InputRecorder(tmp_path, api.url, SECRET, lambda record: None):
        await uploaded(api, tape.id)
        async with asyncio.timeout(5):
            while list(tmp_path.glob("*.json")):  # forgotten once the acknowledgement is here
                await asyncio.sleep(0.01)


async def test_pictures_are_kept_as_a_video_on_the_axis_of_the_sound(tmp_path: Path, api: ScriptedApi) -> None:
    told: list[AnyRecord] = []
    async with InputRecorder(tmp_path, api.url, SECRET, told.append) as recorder:
        tape = await recorder.begin(**SESSION)
        for second, grey in ((0, 40), (1, 120), (1, 200), (3, 250)):
            tape.see(16_000 * second + 800, Frame(np.full((48, 64, 3), grey, np.uint8)).jpeg())
        await tape.end()
        film = next(each for each in told if isinstance(each, RecordingRecord) and each.kind == "video")
        assert film.session_id == "s"
        video = tmp_path / "film.mkv"
        video.write_bytes(await uploaded(api, film.recording_id))
    seen = [(round(frame.at, 3), int(frame.pixels.mean())) for frame in frames(video, every=0.0)]
    assert film.position == 800
    assert [at for at, _ in seen] == [0.0, 1.0, 3.0], "a second picture of the same instant is left out"
    assert [round(grey / 10) * 10 for _, grey in seen] == [40, 120, 250]


async def test_what_is_no_picture_ends_the_film_and_not_the_sound(tmp_path: Path, api: ScriptedApi) -> None:
    async with InputRecorder(tmp_path, api.url, SECRET, lambda record: None) as recorder:
        tape = await recorder.begin(**SESSION)
        tape.see(0, b"no picture")
        tape.add(0, b"\1\0" * 4)
        await tape.end()
        await uploaded(api, tape.id)
    assert api.recordings[tape.id][44:] == b"\1\0" * 4
