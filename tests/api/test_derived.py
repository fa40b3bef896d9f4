"""What is derived of recordings: once, when they are complete, whatever their files are."""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import pytest

from api.support import Api, InProcess, api_for, body_of
from ground.damaged import with_clicks, write
from openomni import jpeg
from openomni.api.accounts.models import Project, Scope
from openomni.api.media import deriving
from openomni.api.media.derive import child, limits, peaks, reader
from openomni.api.media.store import storage
from openomni.api.records.models import Derived, Recording
from openomni.storage.spool import wav_header

RATE = 16_000
Put = Callable[..., str]


@pytest.fixture
def put(admin: Api) -> Put:
    """Uploads a recording, and gives its id."""

    def uploaded(key: str, content: bytes, media_type: str = "audio/wav", **more: Any) -> str:
        admin("PUT", f"/recordings/{key}", {"media_type": media_type, **more})
        admin("PATCH", f"/recordings/{key}?offset=0", content)
        seal = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        admin("POST", f"/recordings/{key}/complete", seal)
        return key

    return uploaded


def wav(channels: Any, rate: int = RATE) -> bytes:
    """16 bit, of samples of shape (n,) or (n, channels)."""
    samples = np.asarray(channels, "<i2")
    return wav_header(rate, 1 if samples.ndim == 1 else samples.shape[1]) + samples.tobytes()


def film(path: Path, seconds: float, codec: str = "mjpeg") -> bytes:
    """Pictures that grow brighter, 5 a second."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        count = round(seconds * 5)
        for index in range(count):
            pixels = np.full((48, 64, 3), 20 + 200 * index // count, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        out.mux(stream.encode(None))
    return path.read_bytes()


def kinds(admin: Api, key: str) -> dict[str, Any]:
    return {each["kind"]: each for each in admin("GET", f"/recordings/{key}")["derived"]}


# ---- what is made --------------------------------------------------------------------------------------------


def test_the_peaks_of_each_channel_are_a_file_of_audiowaveforms(admin: Api, put: Put) -> None:
    sound = np.zeros((RATE, 2), np.int16)
    sound[805, 0], sound[806, 0], sound[8_000:, 1] = 16_384, -32_768, 8_192
    key = put("stereo", wav(sound))
    assert not deriving.derive(key, InProcess())
    (made,) = admin("GET", f"/recordings/{key}")["derived"]
    content = body_of(admin.raw("GET", made["url"].removeprefix("/api/v1")))
    assert (made["kind"], made["size"], made["sha256"]) == (
        "peaks", len(content), hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    assert struct.unpack("<iIiiIi", content[:24]) == (2, 1, RATE, 160, 100, 2)
    pairs = np.frombuffer(content[24:], np.int8).reshape(100, 2, 2)
    assert pairs[5].tolist() == [[-128, 64], [0, 0]]
    assert not pairs[6:, 0].any()
    assert not pairs[:50, 1].any()
    assert (pairs[50:, 1] == 32).all()
    assert Derived.objects.get().made_by == deriving.MAKER
    part = admin.raw("GET", f"/recordings/{key}/derived/peaks", Range="bytes=24-27")
    assert (part.status_code, body_of(part), part["ETag"]) == (206, content[24:28], f'"{made["sha256"]}"')


def test_longer_sound_has_fewer_pairs_a_second_and_loses_no_extreme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "MOST_PAIRS", 100)
    made = peaks.Peaks(1000, 1)
    sound = np.zeros((1, 3_333), np.float32)
    sound[0, 7], sound[0, 1_499], sound[0, -1] = 1.0, -0.5, 0.25
    for start in range(0, 3_333, 617):
        made.add(sound[:, start : start + 617])
    a_second, loud = peaks.loudness(BytesIO(made.data()))
    assert (a_second, len(loud)) == (25.0, 84)
    assert {int(at): float(loud[at]) for at in np.flatnonzero(loud)} == {0: pytest.approx(127 / 128), 37: 0.5, 83: 0.25}


def test_a_film_has_a_strip_of_its_eighths_and_a_form_that_browsers_play(
    admin: Api, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As cameras give it: JPEG in Matroska, without sound."""
    key = put("film", film(tmp_path / "film.mkv", 8.0), "video/x-matroska", kind="video")
    asks = InProcess()
    assert deriving.derive(key, asks)
    assert admin("GET", f"/recordings/{key}")["seconds"] == pytest.approx(8.0, abs=0.01)
    assert list(kinds(admin, key)) == ["thumbnail"]
    assert "it is still to be made" in admin.error("GET", f"/recordings/{key}/derived/playable", status=404)
    assert "it has no sound" in admin.error("GET", f"/recordings/{key}/derived/peaks", status=404)
    strip = jpeg.decode(body_of(admin.raw("GET", f"/recordings/{key}/derived/thumbnail")))
    assert strip.shape == (48, 8 * 64, 3)
    assert strip[24, 32::64, 0] == pytest.approx([20 + 200 * (each + 0.5) / 8 for each in range(8)], abs=9)
    assert list(deriving.unplayable()) == [key]
    deriving.make_playable(key, asks)
    deriving.make_playable(key, asks)
    assert asks.asked == ["look", "length", "thumbnail", "playable"]
    assert kinds(admin, key)["playable"]["media_type"] == "video/webm"
    content = body_of(admin.raw("GET", f"/recordings/{key}/derived/playable"))
    with av.open(BytesIO(content)) as played:
        (stream,) = played.streams
        times = [frame.time for frame in played.decode(stream)]
        assert stream.codec_context.name == "vp8"
    assert times == pytest.approx([each / 5 for each in range(40)], abs=0.002)


@pytest.mark.parametrize(
    ("name", "codec", "media_type", "playable"),
    [
        ("a.wav", "pcm_s16le", "audio/wav", ""), ("a.wav", "pcm_alaw", "audio/wav", "audio/webm"),
        ("a.flac", "flac", "audio/flac", ""), ("a.mp3", "libmp3lame", "audio/mpeg", ""),
        ("a.m4a", "aac", "audio/mp4", ""), ("a.m4a", "alac", "audio/mp4", "audio/webm"),
        ("a.webm", "libopus", "audio/webm", ""), ("a.mkv", "libopus", "audio/x-matroska", "audio/webm"),
        ("a.mkv", "aac", "audio/x-matroska", "audio/mp4"), ("a.mp3", "libmp3lame", "audio/wav", "audio/mp4"),
    ],
)  # fmt: skip
def test_what_browsers_play_is_left_as_it_is(
    tmp_path: Path, name: str, codec: str, media_type: str, playable: str
) -> None:
    source = write(tmp_path / name, [(0.0, with_clicks(1.0, 0.4))], codec=codec)
    order = {"source": str(source), "audio_track": None, "video_track": None, "media_type": media_type}
    wants = child.answered(order | {"kind": "look"})["wants"]
    assert wants == ["peaks", *["playable"] * bool(playable)]
    if playable:
        target = tmp_path / "played"
        made = child.answered(order | {"kind": "playable", "target": str(target)})
        assert made["media_type"] == playable
        with av.open(str(target)) as played:
            heard = np.concatenate([frame.to_ndarray().astype(float)[0] for frame in played.decode(audio=0)])
        # Which is where it was, but for what a compressed file begins with.
        assert np.abs(heard).argmax() / 48_000 == pytest.approx(0.5, abs=0.1)


def test_h264_is_copied_whatever_the_order_of_its_pictures(tmp_path: Path) -> None:
    """Matroska does not say when the first of them are decoded."""
    if "libx264" not in av.codecs_available:
        pytest.skip("this FFmpeg can't make H.264")
    with av.open(str(tmp_path / "film.mkv"), "w") as out:
        stream: Any = out.add_stream("libx264", rate=10, options={"bf": "3"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(30):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 6 * index, np.uint8))))
        out.mux(stream.encode(None))
    order = {"source": str(tmp_path / "film.mkv"), "audio_track": None, "video_track": None, "kind": "playable"}
    assert child.answered(order | {"target": str(tmp_path / "played")})["media_type"] == "video/mp4"
    with av.open(str(tmp_path / "played")) as played:
        times = [frame.time for frame in played.decode(video=0)]
        assert played.streams.video[0].codec_context.name == "h264"
    assert times == pytest.approx([each / 10 for each in range(30)], abs=0.002)


def test_a_webm_in_which_nobody_can_seek_is_put_right(tmp_path: Path) -> None:
    """As a browser's recorder writes it, which can't go back to say how long it became."""
    with (tmp_path / "live.webm").open("wb") as file, av.open(_Onward(file), "w", format="webm") as out:
        stream: Any = out.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        out.mux([*stream.encode(frame), *stream.encode(None)])
    order = {"source": str(tmp_path / "live.webm"), "audio_track": None, "video_track": None}
    order |= {"media_type": "audio/webm", "target": str(tmp_path / "played")}
    assert child.answered(order | {"kind": "look"}) == {"wants": ["peaks", "playable"]}
    assert child.answered(order | {"kind": "playable"})["media_type"] == "audio/webm"
    with av.open(order["target"]) as played:
        assert played.duration == pytest.approx(1_000_000, abs=50_000)


class _Onward:
    """A file that is written from its beginning to its end."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def test_pictures_and_sound_of_which_one_is_copied_stay_together(tmp_path: Path) -> None:
    source = write(tmp_path / "late.mkv", [(2.0, with_clicks(1.0, 0.4))], codec="libopus", pictures=4.0)
    target = tmp_path / "played"
    order = {"kind": "playable", "source": str(source), "target": str(target), "audio_track": 1, "video_track": 1}
    assert child.answered(order)["media_type"] == "video/webm"
    with av.open(str(target)) as played:
        first = {stream.type: next(iter(played.decode(stream))).time for stream in played.streams}
        played.seek(0)
        assert [stream.codec_context.name for stream in played.streams] == ["vp8", "opus"]
    assert first == {"video": pytest.approx(0, abs=0.03), "audio": pytest.approx(2.0, abs=0.03)}


def test_a_film_without_sound_lasts_as_long_as_its_time_stamps_say(admin: Api, put: Put, tmp_path: Path) -> None:
    """A browser's camera, written on and on: nothing states how long it became. Half of another never came."""
    with (tmp_path / "live.webm").open("wb") as file, av.open(_Onward(file), "w", format="webm") as out:
        stream: Any = out.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(30):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        out.mux(stream.encode(None))
    live = (tmp_path / "live.webm").read_bytes()
    whole = film(tmp_path / "whole.mkv", 8.0)
    for key, content, media_type, seconds in (
        ("live", live, "video/webm", 3.0),
        ("half", whole[: len(whole) // 2], "video/x-matroska", 4.0),
    ):
        put(key, content, media_type, kind="video")
        deriving.derive(key, InProcess())
        assert admin("GET", f"/recordings/{key}")["seconds"] == pytest.approx(seconds, abs=0.35)


def test_what_was_counted_is_not_measured_and_a_picture_lasts_no_time(admin: Api, put: Put) -> None:
    asks = InProcess()
    put("sound", wav([1] * RATE))
    put("still", jpeg.encode(np.zeros((48, 64, 3), np.uint8), 75), "image/jpeg", kind="picture")
    for key, seconds in (("sound", 1.0), ("still", None)):
        deriving.derive(key, asks)
        assert admin("GET", f"/recordings/{key}")["seconds"] == seconds
    assert "length" not in asks.asked


# ---- when, and how often -------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_tried_once_by_each_version(
    admin: Api, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, asks = put("broken", b"RIFF of nothing at all" * 100), InProcess()
    for _ in range(2):
        assert not deriving.derive(key, asks)
    assert asks.asked == ["look"]
    assert list(deriving.unsettled()) == []
    assert kinds(admin, key) == {}
    line = admin.error("GET", f"/recordings/{key}/derived/peaks", status=404)
    assert "it is no audio or video that FFmpeg can read" in line
    monkeypatch.setattr(deriving, "_open", deriving.Q(key="") & ~deriving.Q(made_by__startswith="openomni-derive 9"))
    monkeypatch.setattr(deriving, "MAKER", "openomni-derive 9")
    assert list(deriving.unsettled()) == [key]
    deriving.derive(key, asks)
    assert asks.asked == ["look", "look"]
    assert Derived.objects.get().made_by.startswith("openomni-derive 9: it is no audio")


def test_completing_tells_the_deriver_once(admin: Api, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(deriving, "_deriver", type("Stub", (), {"tell": staticmethod(told.append)}))
    key = put("whole", wav([1] * 100))
    content = wav([1] * 100)
    seal = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    admin("POST", "/recordings/whole/complete", seal)
    assert told == [key]


@pytest.mark.django_db(transaction=True)
def test_a_deriver_makes_what_was_left_and_then_what_it_is_told(
    put: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put("left", wav([1] * 100))
    put("film", film(tmp_path / "film.mkv", 1.0), "video/x-matroska", kind="video")
    asks = InProcess()
    monkeypatch.setattr(deriving, "Reader", lambda: asks)
    deriver = deriving.Deriver(settle=0.0, pause=0.0)
    deriver.start()
    try:
        assert asks.done.wait(30)
        assert asks.asked == ["look", "length", "thumbnail", "look", "peaks", "playable"]
        asks.done.clear()
        deriver.tell(put("told", wav([1] * 100)))
        assert asks.done.wait(30)
        assert asks.asked[6:] == ["look", "peaks"]
    finally:
        deriver.stop()
    assert Derived.objects.exclude(key="").count() == 4


def test_a_deleted_recording_takes_what_was_made_of_it_along(put: Put, django_capture_on_commit_callbacks: Any) -> None:
    key = put("gone", wav([1] * 100))
    deriving.derive(key, InProcess())
    made = Derived.objects.get().key
    assert storage().size(made)
    with django_capture_on_commit_callbacks(execute=True):
        Recording.objects.get(pk=key).delete()
    assert storage().size(made) == 0


# ---- who may have it -----------------------------------------------------------------------------------------


def test_it_is_for_those_who_may_have_the_recording(admin: Api, stranger: Api, put: Put, project: Project) -> None:
    key = put("ours", wav([1] * 100), device="bedside")
    deriving.derive(key, InProcess())
    path = f"/recordings/{key}/derived/peaks"
    stranger.error("GET", path, status=404)
    api_for(project, Scope.VIEWER, device="other").error("GET", path, status=404)
    assert api_for(project, Scope.VIEWER, device="bedside").raw("HEAD", path)["Content-Length"] == "26"
    assert admin("GET", "/recordings")["items"][0]["derived"][0]["kind"] == "peaks"
    admin.error("GET", f"/recordings/{key}/derived/thumbnail", status=404)


# ---- the child -----------------------------------------------------------------------------------------------


@pytest.fixture
def unkind(monkeypatch: pytest.MonkeyPatch) -> Iterator[reader.Reader]:
    """A reader whose children are not nice: where tests run, nobody may leave them any time."""
    code = "from openomni.api.media.derive import child; child.NICE = 0; child.main()"
    monkeypatch.setattr(reader, "COMMAND", (sys.executable, "-c", code))
    with reader.Reader() as made:
        yield made


def test_a_file_that_takes_too_long_ends_the_child_and_the_next_has_another(
    unkind: reader.Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "long.wav").write_bytes(wav(np.zeros(3600 * RATE)))
    (tmp_path / "short.wav").write_bytes(wav(np.zeros(RATE)))
    more = {"audio_track": None, "video_track": None, "media_type": "audio/wav"}
    monkeypatch.setattr(limits, "seconds", lambda kind, size: 0.3 if size > 10**6 else 30.0)
    monkeypatch.setattr(limits, "WAITING", 1000.0)
    order = {**more, "target": str(tmp_path / "made")}
    assert unkind.ask("peaks", tmp_path / "long.wav", **order) == {
        "failed": "it takes more than 0.3 s of processor time"
    }
    assert unkind.ask("look", tmp_path / "short.wav", **more) == {"wants": ["peaks"]}
    assert unkind.ask("peaks", tmp_path / "short.wav", **order)["size"] == 24 + 200
    unkind.close()
    with pytest.raises(reader.ReaderClosed):
        unkind.ask("look", tmp_path / "short.wav", **more)
