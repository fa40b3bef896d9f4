"""A session as it sounded: the person on the left, the replies on the right where and as far as they were heard."""

from __future__ import annotations

import hashlib
import io
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext

from api.support import Api, InProcess, api_for, body_of
from openomni.api.accounts.models import Project, Scope
from openomni.api.conversations import picture
from openomni.api.media import deriving
from openomni.api.media.store import storage
from openomni.api.records.models import Derived
from openomni.api.records.recorder import write_batch
from openomni.media import Audio
from openomni.records import RecordingRecord, SegmentRecord, SessionRecord, TimePointRecord, TurnRecord

RATE = 16_000
Put = Callable[..., None]


def wav(samples: Any, rate: int = RATE, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((channels, 2, rate, 0, "NONE", ""))
        sound.writeframes(np.asarray(samples, "<i2").tobytes())
    return file.getvalue()


@pytest.fixture
def put(project: Project) -> Put:
    """Uploads a recording of the session s1; `complete=False` leaves it under way."""
    device = api_for(project, Scope.AGENT)

    def uploaded(key: str, content: bytes, kind: str = "audio", complete: bool = True, **more: Any) -> None:
        device("PUT", f"/recordings/{key}", {"kind": kind, "session_id": "s1", **more})
        device("PATCH", f"/recordings/{key}?offset=0", content)
        if complete:
            seal = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            device("POST", f"/recordings/{key}/complete", seal)

    return uploaded


def session(**more: Any) -> SessionRecord:
    fields: dict[str, Any] = {"pipeline": "local", "pipeline_hash": "abc", "spec": {"stages": []}, "status": "closed"}
    return SessionRecord(project="home", session_id="s1", **{**fields, **more})


def turn(index: int, speech: tuple[int, int] | None, points: dict[str, float], **more: Any) -> TurnRecord:
    fields: dict[str, Any] = {"status": "completed", "reply_audio": f"reply{index}", **more}
    return TurnRecord(
        project="home", turn_id=f"t{index}", session_id="s1", index=index, pipeline="local", pipeline_hash="abc",
        segments=[SegmentRecord("user", *speech)] if speech else [],
        time_points=[TimePointRecord(name, at, "client") for name, at in points.items()], **fields,
    )  # fmt: skip


def tracks(answer: HttpResponse) -> Any:
    """(samples, 2) of a whole answer."""
    with wave.open(io.BytesIO(body_of(answer))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (RATE, 2, 2)
        return np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, 2)


def test_a_reply_lies_where_it_was_heard_and_ends_where_its_playback_did(admin: Api, put: Put) -> None:
    write_batch([
        session(),
        turn(0, (0, RATE), {"reply_sent": 0.1, "playback_started": 0.25, "playback_ended": 1.25}),
        turn(1, (3 * RATE, 4 * RATE), {"playback_started": 0.5, "interrupted": 0.9, "playback_ended": 1.0},
             interrupted=True),
        turn(2, (5 * RATE, 6 * RATE), {"reply_sent": 0.5}),
    ])  # fmt: skip
    put("mic", wav([100] * 8 * RATE))
    put("reply0", wav([1000] * RATE), "reply", turn_id="t0")
    put("reply1", wav([2000] * 2 * RATE), "reply", turn_id="t1")
    put("reply2", wav([3000] * RATE), "reply", turn_id="t2")
    answer = admin.raw("GET", "/sessions/s1/recording")
    assert (answer.status_code, answer["Content-Type"], answer["OpenOmni-Waiting"]) == (200, "audio/wav", "0")
    both = tracks(answer)
    assert set(both[:, 0]) == {100}
    expected = np.zeros(8 * RATE, np.int16)
    expected[round(1.25 * RATE) : round(2.25 * RATE)] = 1000
    expected[round(4.5 * RATE) : round(5.0 * RATE)] = 2000  # 0.5 s of its two were heard
    expected[round(6.5 * RATE) : round(7.5 * RATE)] = 3000
    assert np.array_equal(both[:, 1], expected)


def test_a_reply_that_was_cut_off_before_it_sounded_is_silence(admin: Api, put: Put) -> None:
    write_batch([session(), turn(0, (0, RATE), {"reply_sent": 0.5, "interrupted": 0.4}, interrupted=True)])
    put("mic", wav([100] * 2 * RATE))
    put("reply0", wav([1000] * RATE), "reply")
    assert not tracks(admin.raw("GET", "/sessions/s1/recording"))[:, 1].any()


def test_a_reply_to_what_was_typed_is_placed_by_the_clock(admin: Api, put: Put) -> None:
    at = 1_740_000_000.0
    write_batch([
        session(started_at=at - 5),
        turn(0, (RATE, 2 * RATE), {}, reply_audio="", started_at=at + 1),
        turn(1, None, {"playback_started": 0.5}, started_at=at + 4),
    ])  # fmt: skip
    put("reply1", wav([1000] * RATE), "reply")
    right = tracks(admin.raw("GET", "/sessions/s1/recording"))[:, 1]
    assert np.flatnonzero(right)[0] == round(4.5 * RATE)
    assert len(right) == round(5.5 * RATE)


def test_two_recordings_of_one_person_lie_each_at_its_place(admin: Api, put: Put) -> None:
    """As after the gateway was started anew in mid-session."""
    put("first", wav([1] * 100))
    put("second", wav([2] * 100))
    later = RecordingRecord(project="home", recording_id="second", kind="audio", session_id="s1", position=150)
    write_batch([session(), later])
    left = tracks(admin.raw("GET", "/sessions/s1/recording"))[:, 0]
    assert left.tolist() == [1] * 100 + [0] * 50 + [2] * 100


def test_other_rates_and_channels_are_turned_into_the_axis_rate(admin: Api, put: Put) -> None:
    write_batch([session(), turn(0, (0, RATE), {"playback_started": 0.0})])
    tone = (np.sin(np.arange(22_050 * 3) * 2 * np.pi * 440 / 22_050) * 8000).astype(np.int16)
    put("reply0", wav(tone, 22_050), "reply")
    put("mic", wav(np.repeat([[200, 400]], 5 * 44_100, axis=0), 44_100, 2))
    both = tracks(admin.raw("GET", "/sessions/s1/recording"))
    assert len(both) == 5 * RATE
    assert abs(int(np.median(both[:, 0])) - 300) <= 1
    wanted = np.sin(np.arange(3 * RATE) * 2 * np.pi * 440 / RATE) * 8000
    assert np.abs(both[RATE : 4 * RATE, 1] - wanted)[400:-400].max() < 40
    ranged = admin.raw("GET", "/sessions/s1/recording", Range=f"bytes={44 + 4 * 30_001}-{44 + 4 * 30_101 - 1}")
    piece = np.frombuffer(body_of(ranged), "<i2").reshape(-1, 2)
    assert np.abs(piece.astype(int) - both[30_001:30_101]).max() <= 1, "the same wherever it is begun"


def test_a_compressed_recording_is_decoded(admin: Api, put: Put, tmp_path: Path) -> None:
    write_batch([session()])
    tone = (np.sin(np.arange(RATE * 3) * 0.1) * 0.5).astype(np.float32)
    with av.open(str(tmp_path / "mic.flac"), "w") as out:
        stream = out.add_stream("flac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.frombuffer(Audio(tone, RATE).pcm16(), "<i2")[None], "s16", "mono")
        frame.rate = RATE
        out.mux([*stream.encode(frame), *stream.encode(None)])
    put("mic", (tmp_path / "mic.flac").read_bytes(), media_type="audio/flac")
    left = tracks(admin.raw("GET", "/sessions/s1/recording"))[:, 0]
    assert np.abs(left / 32768 - Audio(tone, RATE).samples).max() < 1e-3
    late = admin.raw("GET", "/sessions/s1/recording", Range=f"bytes={44 + 4 * 40_000}-")
    assert np.array_equal(np.frombuffer(body_of(late), "<i2").reshape(-1, 2)[:, 0], left[40_000:])


@pytest.mark.parametrize(
    ("first", "last"), [(0, 43), (0, 0), (10, 50), (44, 47), (45, 1001), (2, 64_043), (63_000, None)]
)
def test_any_range_is_the_same_bytes_as_the_whole(admin: Api, put: Put, first: int, last: int | None) -> None:
    write_batch([session()])
    put("mic", wav(np.arange(RATE)))
    whole = body_of(admin.raw("GET", "/sessions/s1/recording"))
    assert len(whole) == 44 + 4 * RATE
    answer = admin.raw("GET", "/sessions/s1/recording", Range=f"bytes={first}-{'' if last is None else last}")
    part = whole[first : None if last is None else last + 1]
    assert (answer.status_code, answer["Content-Length"]) == (206, str(len(part)))
    assert body_of(answer) == part
    head = admin.raw("HEAD", "/sessions/s1/recording")
    assert (head["Content-Length"], head["Accept-Ranges"]) == (str(len(whole)), "bytes")
    assert admin.raw("GET", "/sessions/s1/recording", Range="bytes=64045-").status_code == 416


def test_what_is_still_on_its_way_is_there_so_far_under_another_etag(admin: Api, put: Put) -> None:
    write_batch([session(status="open")])
    line = admin.error("GET", "/sessions/s1/recording", status=404)
    assert line == "there is no sound of session s1: nothing of it was recorded"
    announced = RecordingRecord(project="home", recording_id="mic", kind="audio", session_id="s1")
    write_batch([announced])
    assert "1 recordings are on their way" in admin.error("GET", "/sessions/s1/recording", status=404)
    put("mic", wav([5] * 1000), complete=False)
    early = admin.raw("GET", "/sessions/s1/recording")
    assert (len(tracks(early)), early["OpenOmni-Waiting"]) == (1000, "1")
    api_for(Project.objects.get(pk="home"), Scope.AGENT)(
        "PATCH", f"/recordings/mic?offset={len(wav([5] * 1000))}", bytes(200)
    )
    later = admin.raw("HEAD", "/sessions/s1/recording")
    assert later["ETag"] != early["ETag"]


def test_the_peaks_of_both_tracks_and_they_are_not_sent_twice(admin: Api, put: Put) -> None:
    write_batch([session(), turn(0, (0, RATE), {"playback_started": 0.0})])
    loud = np.zeros(25 * RATE, np.int16)
    loud[12 * RATE + 5] = -16_384
    put("mic", wav(loud))
    put("reply0", wav([8192] * RATE), "reply")
    answer = admin.raw("GET", "/sessions/s1/recording/peaks?points=50")
    found = answer.json()  # type: ignore[attr-defined]
    assert (found["seconds"], found["waiting"]) == (25.0, 0)
    assert found["left"] == [0.0] * 24 + [0.5] + [0.0] * 25
    assert found["right"] == [0.0] * 2 + [0.25] * 2 + [0.0] * 46
    again = admin.raw("GET", "/sessions/s1/recording/peaks?points=50", If_None_Match=answer["ETag"])
    assert (again.status_code, again.content) == (304, b"")


def test_peaks_are_drawn_from_what_was_derived(admin: Api, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    write_batch([session(), turn(0, (0, RATE), {"playback_started": 0.0, "playback_ended": 0.5}, interrupted=True)])
    loud = np.zeros(25 * RATE, np.int16)
    loud[12 * RATE + 5] = -16_384
    put("mic", wav(loud))
    put("reply0", wav([8192] * RATE * 3), "reply")
    for key in ("mic", "reply0"):
        deriving.derive(key, InProcess())
    monkeypatch.setattr(picture, "sound_of", lambda recording: pytest.fail("it is read through"))
    found = admin("GET", "/sessions/s1/recording/peaks?points=50")
    assert found["left"] == [0.0] * 24 + [0.5] + [0.0] * 25
    assert found["right"] == [0.0] * 2 + [0.25] + [0.0] * 47
    storage().delete(Derived.objects.get(recording="reply0").key)
    with pytest.raises(pytest.fail.Exception):
        admin("GET", "/sessions/s1/recording/peaks?points=51")


def test_a_session_without_sound_has_no_peaks(admin: Api) -> None:
    write_batch([session()])
    assert admin("GET", "/sessions/s1/recording/peaks") == {"seconds": 0.0, "left": [], "right": [], "waiting": 0}


def test_queries_do_not_grow_with_turns(admin: Api, put: Put) -> None:
    def queries(turns: int) -> int:
        write_batch([session(), *(turn(index, (0, RATE), {"playback_started": 0.0}) for index in range(turns))])
        with CaptureQueriesContext(
            connection,
        ) as counted:
            assert admin.raw("HEAD", "/sessions/s1/recording").status_code == 200
        return len(counted)

    put("mic", wav([1] * RATE))
    queries(1)
    assert queries(2) == queries(30)


def test_nobody_else_hears_it(admin: Api, stranger: Api, put: Put, project: Project) -> None:
    write_batch([session(device="bedside")])
    put("mic", wav([1] * 100))
    for path in ("/sessions/s1/recording", "/sessions/s1/recording/peaks"):
        stranger.error("GET", path, status=404)
        assert Api().raw("GET", path).status_code == 401
        api_for(project, Scope.DEVICE).error("GET", path, status=403)
        api_for(project, Scope.VIEWER, device="other").error("GET", path, status=404)
        for reader in (api_for(project, Scope.VIEWER), api_for(project, Scope.VIEWER, device="bedside")):
            assert reader.raw("GET", path).status_code == 200
