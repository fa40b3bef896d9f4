"""Media files as they come: what is heard of them stands where a player has it."""

from __future__ import annotations

import os
import struct
import wave
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from ground.damaged import RATE, UNTURNED, click, found, spoil, turn, with_clicks, write
from openomni import media_file
from openomni.media import Audio, AudioReader, Frame, MediaError, frames
from openomni.media_file import audio as audio_module

NEAR = 0.05


def read(path: Path, track: int | None = None) -> tuple[Audio, list[str]]:
    """Its sound, and what was told."""
    told: list[str] = []
    with AudioReader(path, 16_000, track=track, told=told.append) as reader:
        return Audio.join(list(reader.blocks(1.0))), told


def near(*seconds: float) -> list[object]:
    return [pytest.approx(each, abs=NEAR) for each in seconds]


# ---- its clock, and its damage -------------------------------------------------------------------------------


def test_sound_that_begins_late_and_has_a_hole_is_in_its_place(tmp_path: Path) -> None:
    parts = [(2.0, with_clicks(2.0, 1.0)), (7.0, with_clicks(2.0, 1.0))]
    audio, told = read(write(tmp_path / "late.mkv", parts, pictures=9.0))
    assert found(audio) == near(3.0, 8.0)
    assert audio.duration == pytest.approx(9.0, abs=NEAR)
    (line,) = told
    assert "has a hole of 3.0 s at 4.0 s" in line


def test_a_file_begins_where_its_earliest_track_begins(tmp_path: Path) -> None:
    path = write(tmp_path / "stream.ts", [(1000.0, with_clicks(3.0, 1.0))])
    assert found(read(path)[0]) == near(1.0)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.ogg", "libopus"), ("a.flac", "flac"),
                        ("a.webm", "libopus"), ("a.ts", "aac"), ("a.aac", "aac")]
)  # fmt: skip
def test_what_is_damaged_is_left_out_and_the_rest_stays_in_its_place(tmp_path: Path, name: str, codec: str) -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, 10 * RATE).astype(np.float32)
    whole = Audio(with_clicks(10.0, 1.0, 8.5).samples + noise, RATE)  # or the silence would be a few bytes
    path = write(tmp_path / name, [(0.0, whole)], codec=codec)
    before = found(read(path)[0])
    audio, told = read(spoil(path, 0.4, 0.45))
    places = found(audio)
    assert [places[0], audio.duration - places[1]] == near(before[0], whole.duration - before[1])
    if name not in ("a.mp3", "a.aac"):  # which say nothing of their times, so that a player goes on at once
        assert places == near(1.0, 8.5)
    (line,) = told
    assert "is damaged at" in line or "has a hole of" in line
    assert "\n" not in line


def test_a_file_of_which_nothing_can_be_decoded_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.m4a", [(0.0, with_clicks(2.0, 1.0))])
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    (size,) = struct.unpack(">I", data[start - 8 : start - 4])
    path.write_bytes(data[:start] + b"\xff" * (size - 8) + data[start + size - 8 :])
    with pytest.raises(MediaError, match="none of its sound can be decoded") as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_rate_and_channels_may_change_on_the_way(tmp_path: Path) -> None:
    first = write(tmp_path / "a.mp3", [(0.0, with_clicks(3.0, 1.0))], codec="libmp3lame")
    with wave.open(str(tmp_path / "b.wav"), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(44_100)
        both = with_clicks(3.0, 1.0).resample(44_100).samples.repeat(2)
        out.writeframes(Audio(both, 44_100).pcm16())
    with av.open(str(tmp_path / "b.wav")) as given, av.open(str(tmp_path / "b.mp3"), "w") as out_mp3:
        stream = out_mp3.add_stream("libmp3lame", rate=44_100, layout="stereo")
        for frame in given.decode(audio=0):
            out_mp3.mux(stream.encode(frame))
        out_mp3.mux(stream.encode(None))
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(first.read_bytes() + (tmp_path / "b.mp3").read_bytes())
    audio, _ = read(joined)
    places = found(audio)
    assert places[0] == pytest.approx(1.0, abs=NEAR)
    assert places[1] - places[0] == pytest.approx(3.0, abs=0.15)  # two encoders' delays lie between


def test_where_the_clock_falls_back_the_sound_goes_on(tmp_path: Path) -> None:
    """As in two recordings that were put together."""
    one = write(tmp_path / "one.ts", [(100.0, with_clicks(3.0, 1.0))]).read_bytes()
    two = write(tmp_path / "two.ts", [(5.0, with_clicks(3.0, 1.0))]).read_bytes()
    (tmp_path / "both.ts").write_bytes(one + two)
    places = found(read(tmp_path / "both.ts")[0])
    assert len(places) == 2
    assert places[1] - places[0] == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("damaged.mp3", [2.0, 29.806]),
        ("damaged.m4a", [2.0, 30.172]),
        ("late-with-a-hole.mkv", [6.0, 14.172]),
        ("rate-changes.mp3", [1.0, 6.227]),
        ("first-track-silent.mkv", [1.0]),
        ("turned.mp4", [1.0]),
    ],
)
def test_the_question_is_where_a_player_has_it(shared_data: Path, name: str, places: list[float]) -> None:
    """The places are those of the packets that hold it, from the beginning of the earliest track."""
    question = Audio.load(Path(media_file.__file__).parents[1] / "cli" / "data" / "question.wav", 16_000).samples
    audio, told = read(shared_data.parent / "faults" / "inputs" / name)
    length = 1 << (len(audio.samples) + len(question)).bit_length()
    match = np.fft.irfft(np.fft.rfft(audio.samples, length) * np.conj(np.fft.rfft(question, length)), length)
    for place in places:
        around = slice(max(round((place - 1) * 16_000), 0), round((place + 1) * 16_000))
        assert (around.start + match[around].argmax()) / 16_000 == pytest.approx(place, abs=NEAR)
        assert match[around].max() > 0.7 * np.dot(question, question)
    assert len(told) <= 1


# ---- its tracks ----------------------------------------------------------------------------------------------

SILENCE, SOUND, OTHER = ((0.0, with_clicks(2.0, *at)) for at in ((), (1.0,), (0.5,)))


@pytest.mark.parametrize(
    ("tracks", "default", "wanted", "heard", "says"),
    [
        ([SILENCE, SOUND], None, None, [1.0], "number 2 is heard, for number 1 is silent"),
        ([SOUND, OTHER], None, None, [1.0], "number 1 is heard"),
        ([SOUND, OTHER], 1, None, [0.5], "number 2 is heard, for it is the default one"),
        ([SOUND, SILENCE], 1, None, [1.0], "number 1 is heard"),
        ([SOUND, OTHER], None, 2, [0.5], None),
        ([SOUND], None, None, [1.0], None),
    ],
)
def test_the_default_track_is_heard_or_the_first_that_sounds(
    tmp_path: Path, tracks: list, default: int | None, wanted: int | None, heard: list[float], says: str | None
) -> None:
    path = write(tmp_path / "tracks.mkv", *([track] for track in tracks), codec="pcm_s16le", default=default)
    audio, told = read(path, wanted)
    assert found(audio) == near(*heard)
    assert [line.partition("tracks; ")[2] for line in told] == ([says] if says else [])


def test_a_track_of_an_unknown_kind_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "tracks.mkv", [OTHER], [SOUND], codec="pcm_s16le")
    path.write_bytes(path.read_bytes().replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT", 1))
    audio, told = read(path)
    assert found(audio) == near(1.0)
    assert "number 1 is of a kind that FFmpeg here cannot decode" in told[0]
    with pytest.raises(MediaError, match=r"audio track 1 of .* is of a kind"):
        read(path, 1)
    with pytest.raises(MediaError, match="has no audio track number 3, for it has 2"):
        read(path, 3)


def test_channels_that_cancel_are_heard_by_the_louder(tmp_path: Path) -> None:
    mono = with_clicks(2.0, 1.0)
    opposite = tmp_path / "opposite.wav"
    both = np.stack([mono.samples, -0.9 * mono.samples], axis=1).ravel()
    with wave.open(str(opposite), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(Audio(both, RATE).pcm16())
    audio, _ = read(opposite)
    assert found(audio) == near(1.0)
    assert audio.peak == pytest.approx(mono.peak, abs=0.05)


def test_channels_that_do_not_cancel_are_mixed() -> None:
    mix = audio_module.Mix()
    left, right = click().samples, click(1300.0).samples
    np.testing.assert_allclose(mix(np.stack([left, right]), RATE), (left + right) / 2)
    np.testing.assert_allclose(mix(np.stack([left, 0 * left]), RATE), left / 2)


def test_more_channels_than_ffmpeg_has_planes_for(tmp_path: Path) -> None:
    path = tmp_path / "many.wav"
    samples = np.zeros((RATE, 24), np.float32)
    samples[:, 20] = with_clicks(1.0, 0.5).samples
    with wave.open(str(path), "wb") as out:
        out.setnchannels(24)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(Audio(samples.ravel(), RATE).pcm16())
    assert found(read(path)[0]) == near(0.5)


def upside() -> np.ndarray:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24] = 255
    return pixels


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        (UNTURNED, lambda pixels: pixels),
        ((0, 65536, -65536, 0), lambda pixels: np.rot90(pixels, -1)),
        ((-65536, 0, 0, -65536), lambda pixels: np.rot90(pixels, 2)),
        ((0, -65536, 65536, 0), lambda pixels: np.rot90(pixels)),
        ((65536, 0, 0, -65536), np.flipud),
    ],
    ids=["upright", "clockwise", "upside down", "counterclockwise", "mirrored"],
)
def test_pictures_stand_upright(tmp_path: Path, matrix: tuple[int, int, int, int], turned: Callable) -> None:
    path = turn(write(tmp_path / "film.mp4", [SOUND], pictures=1.0), matrix)
    (picture, *_) = frames(path, 0.5)
    expected = turned(upside())
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected).mean() < 10
    (small, *_) = frames(path, 0.5, side=32)
    assert max(small.pixels.shape) == 32
    assert small.pixels.shape[0] > small.pixels.shape[1] if expected.shape[0] > expected.shape[1] else True


# ---- its name ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [b"10:30.wav", b"http:talk.wav", b"caf\xe9.wav", b"file:talk.wav", b"talk%03d.wav", b"-", b"pipe:0",
             b"concat:a|b.wav", "Gespräch №1.wav".encode(), b"subfile,,start,0,end,9,,:x.wav"]
)  # fmt: skip
def test_any_file_name_works(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))  # noqa: PTH118
    with_clicks(1.0, 0.5).save(path)
    assert found(read(path)[0]) == near(0.5)
    assert media_file.shown(path).isprintable()
    path.write_bytes(b"")
    with pytest.raises(MediaError, match="is empty") as refused:
        read(path)
    str(refused.value).encode()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n"),
        ("list.txt", "ffconcat version 1.0\nfile {secret}\n"),
        ("list.txt", "ffconcat version 1.0\nfile secret.ts\n"),
    ],
)
def test_a_file_opens_no_other(tmp_path: Path, name: str, text: str) -> None:
    secret = write(tmp_path / "secret.ts", [SOUND])
    (tmp_path / name).write_text(text.format(secret=secret))
    with pytest.raises(MediaError, match="is no audio or video"):
        read(tmp_path / name)


# ---- its bounds ----------------------------------------------------------------------------------------------


def test_a_claim_of_years_is_no_silence_of_years(tmp_path: Path) -> None:
    path = write(tmp_path / "years.mkv", [(0.0, with_clicks(1.0, 0.5)), (1e9, with_clicks(1.0, 0.5))])
    audio, told = read(path)
    assert found(audio) == near(0.5, 1.5)
    assert audio.duration < 3
    assert ["holes of more than an hour" in line for line in told] == [True]


def test_silence_is_bounded_in_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_module, "MAX_SILENCE_S", 5.0)
    parts = [(4.0 * number, with_clicks(1.0, 0.5)) for number in range(4)]
    audio, told = read(write(tmp_path / "holes.mkv", parts))
    assert audio.duration == pytest.approx(4 + 3, abs=2 * NEAR)
    assert len(told) == 2


@pytest.mark.parametrize("rate", [0, 1, 999, 2**31 - 1])
def test_an_absurd_rate_is_refused_in_a_line(tmp_path: Path, rate: int) -> None:
    path = with_clicks(1.0, 0.5).save(tmp_path / "absurd.wav")
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate)
    path.write_bytes(data)
    with pytest.raises(MediaError) as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_of_thousands_of_tracks_the_first_are_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "many.mkv", *([[(0.0, Audio(np.full(2048, 0.1), RATE))]] * 150), codec="pcm_s16le")
    audio, told = read(path)
    assert len(audio.samples) > 0
    assert "has 100 audio tracks" in told[0]


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi", "a.ts", "a.mov"])
def test_a_film_lasts_until_its_last_picture_is_over(tmp_path: Path, name: str) -> None:
    with media_file.MediaFile(write(tmp_path / name, pictures=3.0)) as file:
        assert file.lasts(media_file.moving(file)) == pytest.approx(3.0, abs=0.01)


def test_a_file_lasts_as_long_as_its_longest_track(tmp_path: Path) -> None:
    with media_file.MediaFile(write(tmp_path / "a.mkv", [(2.0, with_clicks(4.0, 1.0))], pictures=3.0)) as file:
        tracks = media_file.moving(file), media_file.audio_track(file)
        assert file.lasts(*tracks) == pytest.approx(6.0, abs=NEAR)


def test_a_still_lasts_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(Frame(np.zeros((64, 64, 3), np.uint8)).jpeg())
    with media_file.MediaFile(tmp_path / "a.jpg") as file:
        assert file.is_still
        assert file.lasts(media_file.moving(file)) is None


def test_pictures_that_are_too_big_are_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "big.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=1)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        for data in [Frame(np.zeros((64, 64, 3), np.uint8)).jpeg()] * 3:
            at = data.index(b"\xff\xc0") + 5
            packet = av.Packet(data[:at] + struct.pack(">HH", 60_000, 60_000) + data[at + 4 :])
            packet.stream = stream
            out.mux(packet)
    assert list(frames(path)) == []


@cache
def samples() -> dict[str, bytes]:
    kinds = {"a.wav": "pcm_s16le", "a.mp3": "libmp3lame", "a.ogg": "libopus", "a.flac": "flac", "a.mkv": "aac",
             "a.mp4": "aac", "a.ts": "aac", "a.avi": "mp2", "a.caf": "pcm_s16le"}  # fmt: skip
    with TemporaryDirectory() as folder:
        film = {"a.mkv", "a.mp4", "a.ts", "a.avi"}
        return {
            name: write(Path(folder) / name, [SOUND], codec=codec, pictures=1.0 * (name in film)).read_bytes()
            for name, codec in kinds.items()
        }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=some.sampled_from(["a.wav", "a.mp3", "a.ogg", "a.flac", "a.mkv", "a.mp4", "a.ts", "a.avi", "a.caf"]),
    changes=some.lists(
        some.tuples(some.floats(0, 1), some.integers(0, 300), some.binary(max_size=8)), min_size=1, max_size=6
    ),
    known=some.booleans(),
)
@example("a.mkv", [(0.0, 0, b"")], True)
def test_whatever_is_in_a_file_only_our_errors_come_out(
    tmp_path: Path, name: str, changes: list[tuple[float, int, bytes]], known: bool
) -> None:
    """`changes`: where, how much is cut out, and what stands there instead."""
    data = samples()[name]
    for where, cut, instead in changes:
        at = round(where**2 * len(data))  # rather in its head
        data = data[:at] + instead + data[at + cut :]
    path = tmp_path / (name if known else "file")
    path.write_bytes(data)
    told: list[str] = []
    with suppress(MediaError):
        with AudioReader(path, 16_000, told=told.append) as reader:
            length = sum(len(block.samples) for block in reader.blocks(10.0))
        assert length < (audio_module.MAX_SILENCE_S + 600) * 16_000
        assert len(told) <= 4
        assert all(frame.at >= 0 for frame in frames(path, 0.1))
