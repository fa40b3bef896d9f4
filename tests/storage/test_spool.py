"""The spool keeps what a device captured until it is told to forget it."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from openomni.errors import OpenOmniError
from openomni.media import Audio, AudioReader
from openomni.storage.spool import Spool, SpoolFull, SpoolRecording, new_recording, wav_header

TOKEN = "oo_0123abcd_secret"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", "http://server", TOKEN)


def capture(spool: Spool, data: bytes = b"sound") -> SpoolRecording:
    recording = spool.record(new_recording("audio", "audio/wav"), ".wav")
    recording.append(data)
    return recording


def test_captured_bytes_are_on_disk_while_the_recording_grows(spool: Spool) -> None:
    recording = capture(spool)
    recording.append(b" and more")
    assert recording.path.read_bytes() == b"sound and more"
    assert not recording.ended.is_set()


def test_what_came_is_made_to_outlast_a_power_cut(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    recording = spool.record(new_recording("audio", "audio/wav"), ".wav")
    recording.append(b"first")
    synced.clear()
    recording.sync()
    assert len(synced) == 1
    recording.end()
    synced.clear()
    recording.sync()
    assert synced == [], "it was, when it ended"


def test_nothing_is_waiting_while_a_process_still_records(spool: Spool) -> None:
    recording = capture(spool)
    assert spool.waiting() == []
    recording.release()
    assert [left.id for left in spool.waiting()] == [recording.id]


def test_what_a_killed_process_captured_is_found_by_the_next(tmp_path: Path) -> None:
    code = f"""
import os, signal
from openomni.storage.spool import Spool, new_recording
recording = Spool({str(tmp_path)!r}, "http://server", {TOKEN!r}).record(new_recording("audio", "audio/wav"), ".wav")
recording.append(b"the last words")
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = Spool(tmp_path, "http://server", TOKEN).waiting()
    assert left.read(0, 100) == b"the last words"
    assert left.ended.is_set()


def test_forgetting_leaves_nothing_behind(spool: Spool) -> None:
    capture(spool).forget()
    assert list(spool.folder.iterdir()) == []


def test_recordings_wait_for_their_own_server_and_token(spool: Spool) -> None:
    capture(spool).release()
    other_token = Spool(spool.folder, "http://server", "oo_ffffffff_other")
    assert Spool(spool.folder, "http://elsewhere", TOKEN).waiting() == []
    assert other_token.waiting() == []
    (left,) = other_token.waiting(any_token=True)
    left.release()
    assert len(spool.waiting()) == 1


def test_a_file_is_kept_as_it_is_and_the_original_stays(spool: Spool, tmp_path: Path) -> None:
    original = Audio.silence(0.1, 8000).save(tmp_path / "talk.wav")
    kept = spool.keep(original, new_recording("audio", "audio/wav"))
    assert kept.path.read_bytes() == original.read_bytes()
    assert kept.path.suffix == ".wav"
    assert kept.ended.is_set()


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files cannot grow past 64 kB, which is an error of the same kind as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_one_line_and_what_was_captured_stays(spool: Spool) -> None:
    recording = capture(spool, b"x" * 60000)
    with pytest.raises(SpoolFull, match=r"full.*--resume-uploads") as full:
        recording.append(b"y" * 10000)
    assert "\n" not in str(full.value)
    recording.release()
    (left,) = spool.waiting()
    assert left.read(0, 60000) == b"x" * 60000


@pytest.mark.usefixtures("small_disk")
def test_a_file_that_does_not_fit_leaves_no_half_copy(spool: Spool, tmp_path: Path) -> None:
    big = tmp_path / "big.wav"
    big.touch()
    os.truncate(big, 60000)
    with big.open("rb+") as file:
        file.seek(0, os.SEEK_END)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(SpoolFull):
        spool.keep(big, new_recording("audio", "audio/wav"))
    assert spool.waiting() == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OpenOmniError, match="--spool"):
        Spool(tmp_path / "file" / "spool")


def test_an_open_ended_wav_is_read_by_ffmpeg_and_by_the_standard_library(tmp_path: Path) -> None:
    sound = Audio([0.25, -0.25] * 8000, 16000)
    path = tmp_path / "open.wav"
    path.write_bytes(wav_header(16000) + sound.pcm16())
    with AudioReader(path) as reader:
        assert Audio.join(reader.blocks()).duration == 1.0
    with wave.open(io.BytesIO(path.read_bytes())) as plain:
        assert plain.readframes(20000) == sound.pcm16()
