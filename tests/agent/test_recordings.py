"""The agent's cache of recordings: whatever left it is fetched again, and what is in use stays."""

from __future__ import annotations

import asyncio
import hashlib
import os
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ground.damaged import found, with_clicks, write
from openomni.agent import recordings
from openomni.agent.recordings import Recordings
from openomni.client.listener.sources import pictures as replayed
from openomni.gateway.video_recording import VideoRecording
from openomni.media import Audio, Frame
from openomni.records import FrameRecord, RecordingRecord
from openomni.storage.spool import Spool, new_recording

RATE = 16_000


class Server:
    """The part of the API that has the recordings."""

    def __init__(self, **files: Path) -> None:
        self.files, self.downloads, self.about = files, [], {}  # type: ignore[var-annotated]
        self.on_download: Callable[[], None] = lambda: None

    async def get(self, path: str) -> dict[str, Any]:
        return {"status": "complete", **self.about}

    async def download(self, recording_id: str, path: Path) -> Path:
        self.downloads.append(recording_id)
        self.on_download()
        path.write_bytes(self.files[recording_id].read_bytes())
        return path


def film(path: Path, seconds: int = 3, brightness: tuple[int, ...] = (200,), side: int = 64) -> Path:
    """A video with a track of pictures for each brightness, one picture a second."""
    with av.open(str(path), "w") as out:
        tracks = []
        for _ in brightness:
            track = out.add_stream("mpeg4", rate=1)
            track.width, track.height, track.pix_fmt = side, side, "yuv420p"
            tracks.append(track)
        sound = out.add_stream("aac", rate=RATE, layout="mono")
        for track, bright in zip(tracks, brightness, strict=True):
            for _ in range(seconds):
                out.mux(track.encode(av.VideoFrame.from_ndarray(np.full((side, side, 3), bright, np.uint8))))
            out.mux(track.encode(None))
        frame = av.AudioFrame.from_ndarray(np.full((1, seconds * RATE), 0.3, np.float32), "fltp", "mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("lost", [".wav", ".original"])
async def test_a_part_that_left_the_cache_is_fetched_again(tmp_path: Path, lost: str) -> None:
    server = Server(a=film(tmp_path / "a.mp4"))
    cache = Recordings(server, tmp_path / "cache")  # type: ignore[arg-type]
    assert (await cache.sound("a", 0, 1)).duration == 1.0
    (tmp_path / "cache" / f"a{lost}").unlink()
    assert [frame.at for frame in await cache.pictures("a", 0, -1, 1.0)] == [0.0, 1.0, 2.0]
    assert (await cache.sound("a", 0, 1)).duration == 1.0


async def test_turns_that_ask_at_once_share_one_download(tmp_path: Path) -> None:
    server = Server(a=film(tmp_path / "a.mp4"))
    cache = Recordings(server, tmp_path / "cache")  # type: ignore[arg-type]
    await asyncio.gather(cache.sound("a", 0, 1), cache.pictures("a", 0, 1), cache.sound("a", 1, 2))
    assert server.downloads == ["a"]


async def test_the_files_of_a_recording_go_together_and_not_while_they_are_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "KEPT_BYTES", 1)
    files = {name: film(tmp_path / f"{name}.mp4") for name in "abc"}
    server = Server(**files)
    cache = Recordings(server, tmp_path / "cache")  # type: ignore[arg-type]
    await cache.sound("a", 0, 1)
    async with cache.held("b", original=True) as path:
        await cache.sound("c", 0, 1)
        assert {file.name.partition(".")[0] for file in (tmp_path / "cache").iterdir()} == {"b", "c"}
        assert path.exists()
        assert path.with_suffix(".original").exists()


async def test_what_is_on_its_way_does_not_make_room_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "KEPT_BYTES", 1)
    server = Server(a=film(tmp_path / "a.mp4"), b=film(tmp_path / "b.mp4"))
    cache = Recordings(server, tmp_path / "cache")  # type: ignore[arg-type]
    part = tmp_path / "cache" / "b.original.part"
    part.write_bytes(b"half of it")
    os.utime(part, (0, 0))
    async with asyncio.TaskGroup() as group:
        b_arrives = asyncio.Event()

        async def download(recording_id: str, path: Path) -> Path:
            if recording_id == "b":
                await b_arrives.wait()
            return path.write_bytes(server.files[recording_id].read_bytes()) and path

        server.download = download  # type: ignore[method-assign]
        waiting = group.create_task(cache.sound("b", 0, 1))
        await asyncio.sleep(0)
        await cache.sound("a", 0, 1)
        assert part.exists()
        b_arrives.set()
        assert (await waiting).duration == 1.0


async def test_the_track_that_its_recorder_chose_is_seen(tmp_path: Path) -> None:
    server = Server(a=film(tmp_path / "a.mkv", brightness=(20, 220)))
    server.about = {"audio_track": None, "video_track": 2}
    cache = Recordings(server, tmp_path / "cache")  # type: ignore[arg-type]
    (picture, *_) = await cache.pictures("a", 0, -1)
    assert picture.pixels.mean() == pytest.approx(220, abs=10)


async def test_the_pictures_of_a_long_turn_are_thinned_out_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "PICTURE_BYTES", 8 * 64 * 64 * 3)
    server = Server(a=film(tmp_path / "a.mp4", seconds=20))
    cache = Recordings(server, tmp_path / "cache")  # type: ignore[arg-type]
    seen = [frame.at for frame in await cache.pictures("a", 2, -1, 1.0)]
    assert seen == [2.0, 6.0, 10.0, 14.0, 18.0]


async def test_a_recording_that_is_damaged_gives_the_sound_around_it(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    Audio(np.full(3 * RATE, 0.3, np.float32), RATE).save(path)
    path.write_bytes(path.read_bytes()[:-3])  # cut in the middle of a sample
    cache = Recordings(Server(a=path), tmp_path / "cache")  # type: ignore[arg-type]
    assert (await cache.sound("a", 1, -1)).duration == pytest.approx(2.0, abs=0.01)


async def test_queued_turns_hear_a_file_where_a_player_has_it(tmp_path: Path) -> None:
    path = write(tmp_path / "late.mkv", [(2.0, with_clicks(2.0, 1.0)), (7.0, with_clicks(2.0, 1.0))], pictures=9.0)
    cache = Recordings(Server(a=path), tmp_path / "cache")  # type: ignore[arg-type]
    assert found(await cache.sound("a", 0, -1)) == pytest.approx([3.0, 8.0], abs=0.05)
    assert found(await cache.sound("a", 7.5, 9.0)) == pytest.approx([0.5], abs=0.05)
    assert [frame.at for frame in await cache.pictures("a", 3, 5, 1.0)] == pytest.approx([3.0, 4.0])


async def test_a_channel_of_a_track_is_heard_alone_and_the_other_failing_is_not_its_fault(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setparams((2, 2, RATE, 0, "NONE", ""))
        out.writeframes((np.tile([0.5, 0.1], (RATE, 1)) * 32767).astype("<i2").tobytes())
    server = Server(a=tmp_path / "a.wav")
    cache = Recordings(server, tmp_path / "cache")  # type: ignore[arg-type]
    wanted = [(None, None), (None, 1), (1, 2), (None, 3), (2, None)]
    heard = await asyncio.gather(*(cache.sound("a", 0, -1, *each) for each in wanted), return_exceptions=True)
    levels = [each.samples.mean() if isinstance(each, Audio) else str(each) for each in heard]
    assert levels[:3] == pytest.approx([0.3, 0.5, 0.1], abs=0.001)
    assert "recording a has no channel 3, for it has 2" in levels[3]
    assert "audio track" in levels[4]
    assert (await cache.sound("a", 0, -1, None, 2)).samples.mean() == pytest.approx(0.1, abs=0.001)


async def test_the_very_pictures_that_were_shown_are_found_by_their_hash(tmp_path: Path) -> None:
    jpegs = [Frame(np.full((48, 64, 3), shade, np.uint8)).jpeg() for shade in (20, 120, 220)]
    (tmp_path / "put_in.jpg").write_bytes(jpegs[2])
    live = VideoRecording(began(tmp_path), RecordingRecord(project="p", recording_id="live", kind="video"), bool)
    for number, jpeg in enumerate(jpegs[:2]):
        live.add(1000 + 8000 * number, jpeg)
    await live.end()
    server = Server(
        live=tmp_path / "spool" / "live.mkv", put_in=tmp_path / "put_in.jpg", film=film(tmp_path / "film.mp4")
    )
    cache = Recordings(server, tmp_path / "cache")  # type: ignore[arg-type]
    wanted = [FrameRecord(hashlib.sha256(jpeg).hexdigest(), 16_000 * at) for at, jpeg in enumerate(jpegs)]
    shown = {name: frame for each in ("live", "put_in") for name, frame in (await cache.shown(each, wanted)).items()}
    assert [shown[each.sha256].jpeg() for each in wanted] == jpegs
    assert [shown[each.sha256].at for each in wanted] == [0.0, 1.0, 2.0]
    # What a listener or an agent made of a film's picture is made of it again.
    sent = [Frame.from_jpeg(each.jpeg, each.position / RATE) for each in replayed(tmp_path / "film.mp4")]
    looked_at = await cache.pictures("film", 0, -1, 1.0)
    for frames in (sent, looked_at):
        wanted = [FrameRecord(hashlib.sha256(each.jpeg()).hexdigest(), round(each.at * RATE)) for each in frames]
        found = await cache.shown("film", wanted)
        assert [found[each.sha256].jpeg() for each in wanted] == [each.jpeg() for each in frames]
    assert await cache.shown("film", [FrameRecord("0" * 64, 0)]) == {}


def began(folder: Path) -> Callable[[], Any]:
    async def begin() -> Any:
        return Spool(folder / "spool").record(new_recording("video", "video/x-matroska", recording_id="live"), ".mkv")

    return begin
