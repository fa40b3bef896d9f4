from __future__ import annotations

import subprocess
import wave
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from openomni.media import Audio, AudioReader, Frame, MediaError, frames


def tone(seconds: float, rate: int, level: float = 0.5) -> Audio:
    return Audio(level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate), rate)


def write_wav(path: Path, rate: int, channels: int, bits: int, seconds: float = 1.0) -> Path:
    """Through FFmpeg's own encoder, so that what is read was not written by what reads it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream({16: "pcm_s16le", 24: "pcm_s24le"}[bits], rate=rate)
        stream.layout = {1: "mono", 2: "stereo"}[channels]
        wave_form = (tone(seconds, rate).samples * 2**31 * 0.999).astype(np.int32)
        frame = av.AudioFrame.from_ndarray(np.repeat(wave_form, channels)[None], "s32", stream.layout.name)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        resampler = av.AudioResampler(format=stream.format, layout=stream.layout, rate=rate)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("rate", "channels", "bits"), [(8_000, 2, 16), (96_000, 1, 24), (44_100, 2, 24)])
def test_any_rate_and_depth_comes_out_mono_at_the_rate_that_was_asked(
    tmp_path: Path, rate: int, channels: int, bits: int
) -> None:
    audio = Audio.load(write_wav(tmp_path / "in.wav", rate, channels, bits), 16_000)
    assert audio.rate == 16_000
    assert audio.duration == pytest.approx(1.0, abs=0.01)
    assert audio.peak == pytest.approx(0.5, abs=0.02)


def test_a_saved_wav_is_read_back(tmp_path: Path) -> None:
    audio = tone(0.5, 24_000)
    again = Audio.load(audio.save(tmp_path / "out.wav"))
    assert again.rate == 24_000
    np.testing.assert_allclose(again.samples, audio.samples, atol=1 / 32768)


def test_blocks_join_to_the_whole(tmp_path: Path) -> None:
    path = tone(1.05, 16_000).save(tmp_path / "in.wav")
    with AudioReader(path) as reader:
        blocks = list(reader.blocks(0.1))
    assert [len(block.samples) for block in blocks] == [1600] * 10 + [800]
    np.testing.assert_array_equal(Audio.join(blocks).samples, Audio.load(path).samples)


def test_a_long_file_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8_000)
        for _ in range(15):
            out.writeframes(bytes(2 * 8_000 * 60))
    script = (
        "import resource, sys; from openomni.media import AudioReader\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "seconds = 0\n"
        "with AudioReader(sys.argv[1], 16000) as reader:\n"
        "    for block in reader.blocks(1.0): seconds += block.duration\n"
        "print(round(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    import sys

    seconds, grown_kib = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(seconds) == 900
    assert int(grown_kib) < 20_000  # its samples are 57 600 000 bytes


def write_silent_film(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def test_what_is_no_media_is_refused_in_one_line_with_the_mend(tmp_path: Path) -> None:
    text, empty, film = tmp_path / "notes.txt", tmp_path / "empty.wav", tmp_path / "film.mp4"
    text.write_text("no sound here\n" * 50)
    empty.touch()
    write_silent_film(film)
    for path, problem in [
        (tmp_path / "missing.wav", "is not a file"),
        (text, "is no audio or video"),
        (empty, "is empty"),
        (film, "has no audio track"),
    ]:
        with pytest.raises(MediaError, match=problem) as caught:
            Audio.load(path)
        assert "\n" not in str(caught.value)


def test_a_video_gives_a_picture_a_second(shared_data: Path) -> None:
    seen = list(frames(shared_data / "jfk.mp4", every=1.0))
    assert len(seen) >= 10
    assert all(later.at > earlier.at for earlier, later in pairwise(seen))
    again = Frame.from_jpeg(seen[0].jpeg(quality=95))
    assert again.pixels.shape == seen[0].pixels.shape
    assert np.abs(again.pixels.astype(int) - seen[0].pixels.astype(int)).mean() < 6


def test_pcm16_goes_and_comes_and_clips() -> None:
    audio = Audio([0.0, 0.5, -1.0, 2.0], 16_000)
    assert Audio.from_pcm16(audio.pcm16(), 16_000).samples.tolist() == [0.0, 0.5, -1.0, pytest.approx(32767 / 32768)]


def test_first_audible_skips_what_nobody_hears() -> None:
    quiet = Audio(np.full(1600, 0.005, np.float32), 16_000)
    assert quiet.first_audible() is None
    assert Audio.join([quiet, tone(0.1, 16_000)]).first_audible() == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Audio(np.zeros((2, 10)), 16_000), "mono"),
        (lambda: Audio(np.zeros(10), 0), "the rate of Audio must be positive, not 0"),
        (lambda: Audio.join([tone(0.1, 16_000), tone(0.1, 8000)]), r"one rate, these have \[8000, 16000\]"),
        (lambda: Audio.join([]), "no parts"),
        (lambda: Frame(np.zeros((2, 2, 3))), "uint8 RGB of shape"),
        (lambda: Frame(np.zeros((2, 2), np.uint8)), "uint8 RGB of shape"),
    ],
)
def test_what_is_no_sound_or_picture_of_ours_is_refused(make: Callable[[], object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()
