"""A file is captured as a microphone would have captured it."""

from __future__ import annotations

import asyncio
import os
import wave
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import virtual_time
from ground.damaged import found, spoil, turn, with_clicks, write
from openomni.client.listener.listen import Request, file_path, make_source
from openomni.client.listener.sources import (
    BLOCK,
    Block,
    Captured,
    CapturedPicture,
    ChosenTracks,
    FileSource,
    NoSpeech,
    UtteranceEnd,
)
from openomni.errors import WrongUsage
from openomni.events import AXIS_RATE
from openomni.media import Audio, Frame, MediaError
from openomni.storage.spool import Spool


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual clock does not wait for them."""

    async def here(work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", here)


def tone(seconds: float, rate: int = AXIS_RATE) -> Audio:
    return Audio(0.5 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 440 / rate), rate)


def wav(path: Path, rate: int, channels: int, bytes_a_sample: int, seconds: float = 1.0) -> Path:
    values = (tone(seconds, rate).samples * (2 ** (8 * bytes_a_sample - 1) - 1)).astype("<i4")
    frames = values.repeat(channels).view(np.uint8).reshape(-1, 4)[:, :bytes_a_sample]
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(bytes_a_sample)
        out.setframerate(rate)
        out.writeframes(frames.tobytes())
    return path


def captured(path: Path, time_points: Sequence[float] = ()) -> list[Captured]:
    """All that the source captures, on a virtual clock from 0 on."""

    async def main() -> list[Captured]:
        return [item async for item in FileSource(path, time_points).capture()]

    return virtual_time.run(main())


def blocks(items: list[Captured]) -> list[Block]:
    return [item for item in items if isinstance(item, Block)]


def test_blocks_follow_one_another_on_the_axis_each_with_the_stamp_of_its_first_sample(tmp_path: Path) -> None:
    found = blocks(captured(tone(1.0).save(tmp_path / "tone.wav")))
    assert [block.position for block in found] == [number * BLOCK for number in range(len(found))]
    for block in found:
        assert block.captured == pytest.approx(block.position / AXIS_RATE)


def test_a_second_of_silence_follows_so_that_the_last_turn_can_end(tmp_path: Path) -> None:
    sound = b"".join(block.pcm for block in blocks(captured(tone(0.5).save(tmp_path / "tone.wav"))))
    assert len(sound) == 2 * 1.5 * AXIS_RATE
    assert not any(sound[AXIS_RATE:])


@pytest.mark.parametrize(("rate", "channels", "width"), [(8000, 2, 2), (96000, 1, 3), (44100, 2, 3)])
def test_any_rate_width_and_number_of_channels_works(tmp_path: Path, rate: int, channels: int, width: int) -> None:
    found = blocks(captured(wav(tmp_path / "talk.wav", rate, channels, width)))
    sound = Audio.from_pcm16(b"".join(block.pcm for block in found), AXIS_RATE)
    assert sound.duration == pytest.approx(2.0, abs=0.03)
    assert sound.cut(0.2, 0.8).peak == pytest.approx(0.5, abs=0.03)


def test_at_time_points_utterances_end_and_no_silence_is_added(tmp_path: Path) -> None:
    items = captured(tone(3.0).save(tmp_path / "tone.wav"), [1.0, 2.0])
    ends = [index for index, item in enumerate(items) if isinstance(item, UtteranceEnd)]
    positions = [items[index - 1].position + BLOCK for index in ends]  # type: ignore[union-attr]
    assert positions == [AXIS_RATE, 2 * AXIS_RATE, 3 * AXIS_RATE]
    assert len(blocks(items)) * BLOCK == 3 * AXIS_RATE


def video(path: Path, seconds: int) -> Path:
    """A video whose picture gets brighter each second, with sound."""
    with av.open(str(path), "w") as out:
        moving = out.add_stream("mpeg4", rate=5)
        moving.width, moving.height, moving.pix_fmt = 1024, 512, "yuv420p"
        sound = out.add_stream("aac", rate=AXIS_RATE, layout="mono")
        for number in range(seconds * 5):
            pixels = np.full((512, 1024, 3), 40 * (number // 5), np.uint8)
            out.mux(moving.encode(av.VideoFrame.from_ndarray(pixels)))
        samples = tone(seconds).samples[None, :]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="mono")
        frame.rate, frame.time_base = AXIS_RATE, Fraction(1, AXIS_RATE)
        out.mux(sound.encode(frame))
        out.mux(moving.encode(None))
        out.mux(sound.encode(None))
    return path


def test_of_a_video_a_picture_a_second_goes_along_small_and_in_its_place(tmp_path: Path) -> None:
    items = captured(video(tmp_path / "clip.mp4", 4))
    pictures = [item for item in items if isinstance(item, CapturedPicture)]
    assert [round(picture.position / AXIS_RATE) for picture in pictures] == [0, 1, 2, 3]
    shown = Frame.from_jpeg(pictures[-1].jpeg).pixels
    assert shown.shape == (384, 768, 3)
    assert shown.mean() == pytest.approx(120, abs=10)


def test_a_real_interview_is_sound_and_pictures(shared_data: Path) -> None:
    items = captured(shared_data / "interview.mp4")
    assert len(blocks(items)) * BLOCK / AXIS_RATE == pytest.approx(15.58 + 1.0, abs=0.1)
    assert sum(isinstance(item, CapturedPicture) for item in items) >= 14


def silent_video(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        moving = out.add_stream("mpeg4", rate=5)
        moving.width, moving.height, moving.pix_fmt = 64, 64, "yuv420p"
        out.mux(moving.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        out.mux(moving.encode(None))
    return path


def test_what_cannot_be_listened_to_is_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no sound at all, and long enough to be looked at twice")
    Audio.silence(2.0, 8000).save(tmp_path / "silent.wav")
    silent_video(tmp_path / "mute.mp4")
    for name, line in {
        "empty.wav": "is empty",
        "text.wav": "is no audio or video",
        "silent.wav": "no speech found",
        "mute.mp4": "has no audio track",
        "missing.wav": "is not a file",
    }.items():
        with pytest.raises((MediaError, NoSpeech), match=line) as error:
            FileSource(tmp_path / name).check()
        assert "\n" not in str(error.value)


def test_a_time_point_behind_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="behind the end"):
        FileSource(tone(1.0).save(tmp_path / "tone.wav"), [2.0]).check()


def test_the_fast_pace_cuts_the_same_pieces_and_leaves_out_silent_ones(tmp_path: Path) -> None:
    talk = Audio.join([Audio.silence(1.0, AXIS_RATE), tone(2.0), Audio.silence(2.0, AXIS_RATE), tone(1.0)])
    path = talk.save(tmp_path / "talk.wav")
    assert FileSource(path, [1.0, 3.0, 5.0]).pieces() == [(1.0, 3.0), (5.0, 6.0)]
    assert FileSource(path, [2.0]).pieces() == [(0.0, 2.0), (2.0, 6.0)]


def heard(path: Path, tracks: ChosenTracks | None = None) -> tuple[list[Captured], Audio, list[str]]:
    """All that a checked source captures, its sound, and what it told."""
    told: list[str] = []
    source = FileSource(path, tracks=tracks or ChosenTracks(), told=told.append)
    source.check()

    async def main() -> list[Captured]:
        return [item async for item in source.capture()]

    items = virtual_time.run(main())
    return items, Audio.from_pcm16(b"".join(block.pcm for block in blocks(items)), AXIS_RATE), told


def test_what_is_damaged_is_told_once_and_what_follows_is_still_said(tmp_path: Path) -> None:
    noise = Audio(np.random.default_rng(1).normal(0, 0.02, 240_000).astype(np.float32), 48_000)
    path = write(tmp_path / "a.m4a", [(0.0, Audio(with_clicks(5.0, 0.5, 4.0).samples + noise.samples, 48_000))])
    _, sound, told = heard(spoil(path, 0.3, 0.4))
    assert found(sound) == pytest.approx([0.5, 4.0], abs=0.05)
    (line,) = told
    assert "is damaged at" in line


def test_sound_and_pictures_of_a_late_track_stand_on_one_axis(tmp_path: Path) -> None:
    path = write(tmp_path / "late.mkv", [(2.0, with_clicks(2.0, 0.5))], pictures=4.0)
    items, sound, told = heard(path)
    assert found(sound) == pytest.approx([2.5], abs=0.05)
    assert [item.position // AXIS_RATE for item in items if isinstance(item, CapturedPicture)] == [0, 1, 2, 3]
    assert told == []


def test_pictures_are_sent_upright(tmp_path: Path) -> None:
    path = write(tmp_path / "turned.mp4", [(0.0, with_clicks(1.0, 0.5))], pictures=1.0)
    items, _, _ = heard(turn(path, (0, 65536, -65536, 0)))
    (picture,) = [item for item in items if isinstance(item, CapturedPicture)]
    assert Frame.from_jpeg(picture.jpeg).pixels.shape == (64, 48, 3)


def test_the_track_that_sounds_is_heard_and_another_by_choice(tmp_path: Path) -> None:
    tracks = [[(0.0, with_clicks(2.0, *at))] for at in ((), (0.5,), (1.0,))]
    path = write(tmp_path / "three.mkv", *tracks, codec="pcm_s16le")
    _, sound, told = heard(path)
    assert found(sound) == pytest.approx([0.5], abs=0.05)
    assert [line.partition("; ")[2] for line in told] == ["number 2 is heard, for number 1 is silent"]
    _, sound, told = heard(path, ChosenTracks(audio=3))
    assert found(sound) == pytest.approx([1.0], abs=0.05)
    assert told == []
    with pytest.raises(NoSpeech):
        heard(path, ChosenTracks(audio=1))
    for wrong in (ChosenTracks(audio=4), ChosenTracks(video=1)):
        with pytest.raises(MediaError, match="track number"):
            heard(path, wrong)
    with pytest.raises(WrongUsage, match="are for files"):
        make_source(Request("", "", "", "mic", tracks=ChosenTracks(audio=2)))


def test_the_choice_of_a_track_goes_with_the_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "two.mkv", *([[(0.0, with_clicks(1.0, 0.5))]] * 2), codec="pcm_s16le")
    recording = FileSource(path, tracks=ChosenTracks(audio=2)).keep(Spool(tmp_path / "spool"), "s")
    assert recording.ticket.meta.audio_track == 2
    assert recording.ticket.meta.video_track is None


@pytest.mark.parametrize("name", [b"10:30.wav", b"caf\xe9.wav", b"talk.\xe9", b"-", b"http:x.wav"])
def test_any_file_name_is_captured_kept_and_named(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    tone(0.2).save(path)
    source = FileSource(path)
    source.check()
    (recording,) = source.open(Spool(tmp_path / "spool"), "s", "r")
    recording.release()
    (again,) = Spool(tmp_path / "spool").waiting()
    assert again.path.read_bytes() == path.read_bytes()
    source.label.encode()
    assert blocks(captured(path))


def test_a_file_is_found_as_a_shell_or_a_browser_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert file_path("~/talk.wav") == tmp_path / "talk.wav"
    assert file_path("talk.wav") == Path("talk.wav")
    assert file_path("a:b%20c.wav") == Path("a:b%20c.wav")
    assert file_path("///home/me/a%20b.wav") == file_path("//localhost/home/me/a%20b.wav") == Path("/home/me/a b.wav")
    there = tone(0.1).save(tmp_path / "a%20b.wav")
    assert file_path(f"//{there}") == Path(f"//{there}")


def test_a_broken_tail_is_told_where_agents_do_the_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [(0.0, with_clicks(1.0, 0.5)), (4.0, with_clicks(1.0, 0.5))])
    told: list[str] = []
    source = FileSource(path, told=told.append)
    source.read_through()
    assert ["has a hole of 3" in line for line in told] == [True]
