"""The cache of models: filled once, checked, and left alone by the network afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from models.conftest import FileServer, Seen, Shelf
from openomni import models
from openomni.errors import OpenOmniError, WrongUsage
from openomni.models import ModelError

FILES = {"model.bin": b"weights " * 100_000, "config.json": b"{}"}


@pytest.fixture
def toy(server: FileServer, shelf: Shelf) -> str:
    """A model of two files on the server."""
    server.files |= {f"/toy/{name}": content for name, content in FILES.items()}
    shelf.add("toy", FILES, [{"url": f"{server.url}/toy"}], aliases=["t"])
    return "toy"


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)


def test_fetches_all_files_and_says_how_far_it_is(toy: str, cache: Path, progress: Seen) -> None:
    path = models.ensure(toy, progress)
    assert path == cache / "toy"
    assert {name: (path / name).read_bytes() for name in FILES} == FILES
    total = sum(map(len, FILES.values()))
    assert ("model toy", total, len(FILES["config.json"])) not in progress.steps
    assert progress.steps[-1] == ("model toy", total, total)


def test_is_found_by_its_alias_and_without_the_network_once_it_is_here(
    toy: str, progress: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.ensure(toy, progress)
    offline(monkeypatch)
    assert models.ensure("t", progress) == path


def test_a_main_file_is_what_a_component_opens(server: FileServer, shelf: Shelf, progress: Seen) -> None:
    server.files["/m/voice.onnx"] = b"voice"
    shelf.add("voice", {"voice.onnx": b"voice"}, [{"url": f"{server.url}/m"}], main="voice.onnx")
    assert models.ensure("voice", progress).read_bytes() == b"voice"


def test_a_file_with_another_hash_is_refused_and_nothing_of_it_is_kept(
    toy: str, server: FileServer, cache: Path, progress: Seen
) -> None:
    server.files["/toy/model.bin"] = b"malware " * 100_000
    with pytest.raises(ModelError, match=r"model\.bin has the SHA-256 .*refused") as caught:
        models.ensure(toy, progress)
    assert "\n" not in str(caught.value)
    assert not (cache / "toy").exists()
    server.files["/toy/model.bin"] = FILES["model.bin"]
    models.ensure(toy, progress)


def test_the_next_source_is_asked_when_one_fails(
    server: FileServer, shelf: Shelf, tmp_path: Path, progress: Seen
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    shelf.add("toy", FILES, [{"url": f"{server.url}/nowhere"}, {"path": str(tmp_path)}])
    assert (models.ensure("toy", progress) / "model.bin").read_bytes() == FILES["model.bin"]


def test_when_no_source_has_it_the_line_says_why_each_failed(
    server: FileServer, shelf: Shelf, progress: Seen, cache: Path
) -> None:
    shelf.add("toy", FILES, [{"url": f"{server.url}/nowhere"}, {"path": "/nonexistent"}])
    with pytest.raises(ModelError, match=r"404.*no file /nonexistent.*Put its files into") as caught:
        models.ensure("toy", progress)
    assert str(cache) in str(caught.value)


def test_a_download_that_broke_off_goes_on_in_the_next_call(
    toy: str, server: FileServer, progress: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.breaks = [500_000, 0, 0, 0, 0]
    with pytest.raises(ModelError, match="what has come is kept"):
        models.ensure(toy, progress)
    models.ensure(toy, progress)
    assert server.fetched("/toy/model.bin")[-1] == "bytes=500000-"


def test_files_put_there_by_hand_are_checked_and_used(
    toy: str, cache: Path, progress: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache / "toy").mkdir(parents=True)
    for name, content in FILES.items():
        (cache / "toy" / name).write_bytes(content)
    offline(monkeypatch)
    assert models.ensure(toy, progress) == cache / "toy"


def test_a_file_that_was_changed_is_noticed_and_fetched_again(toy: str, cache: Path, progress: Seen) -> None:
    changed = models.ensure(toy, progress) / "model.bin"
    changed.write_bytes(b"WEIGHTS " * 100_000)
    os.utime(changed, ns=(1, 1))
    assert not models.is_present(models.load_catalogue().find(toy))
    models.ensure(toy, progress)
    assert changed.read_bytes() == FILES["model.bin"]


def test_verify_reads_every_byte_whatever_the_stamp_says(toy: str, progress: Seen) -> None:
    file = models.ensure(toy, progress) / "model.bin"
    model, before = models.load_catalogue().find(toy), file.stat()
    assert models.verify(model) == []
    file.write_bytes(b"WEIGHTS " * 100_000)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert models.is_present(model)
    (fault,) = models.verify(model)
    assert fault.startswith("model.bin has the SHA-256")


def test_two_processes_download_once(toy: str, server: FileServer) -> None:
    command = [sys.executable, "-c", "from openomni import models; models.ensure('toy')"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert len(server.fetched("/toy/model.bin")) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to fill a disk with")
def test_a_full_disk_is_one_line(toy: str, cache: Path, progress: Seen) -> None:
    staging = cache / ".fetching" / "toy"
    staging.mkdir(parents=True)
    (staging / "model.bin").symlink_to("/dev/full")
    with pytest.raises(ModelError, match=r"the disk of .* is full; the model toy takes .* OPENOMNI_MODELS"):
        models.ensure(toy, progress)


def test_too_little_space_is_said_before_anything_is_downloaded(
    server: FileServer, shelf: Shelf, progress: Seen, tmp_path: Path
) -> None:
    shelf.add("vast", {"model.bin": b""}, [{"url": server.url}])
    catalogue = tmp_path / "catalogue.yaml"
    catalogue.write_text(catalogue.read_text().replace("size: 0", f"size: {10**18}"))
    with pytest.raises(ModelError, match="is full"):
        models.ensure("vast", progress)
    assert server.asked == []


def test_a_cache_that_can_not_be_made_is_one_line(
    toy: str, tmp_path: Path, progress: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("OPENOMNI_MODELS", str(tmp_path / "a file" / "models"))
    with pytest.raises(ModelError, match="set OPENOMNI_MODELS"):
        models.ensure(toy, progress)


class TestLocate:
    """What a component's `model` parameter may say."""

    def test_a_path(self, tmp_path: Path) -> None:
        assert models.locate(str(tmp_path), "faster-whisper") == tmp_path

    def test_a_path_that_leads_nowhere(self) -> None:
        with pytest.raises(WrongUsage, match="no model at /nonexistent/model"):
            models.locate("/nonexistent/model", "faster-whisper")

    def test_an_unknown_name_gives_the_nearest(self) -> None:
        with pytest.raises(WrongUsage, match=r"did you mean 'tiny\.en'"):
            models.locate("tinyen", "faster-whisper")

    def test_a_model_of_another_component(self) -> None:
        with pytest.raises(OpenOmniError, match="is for piper, not for faster-whisper"):
            models.locate("en_US-joe-medium", "faster-whisper")

    def test_no_hub_reference(self) -> None:
        with pytest.raises(WrongUsage, match="hf://organisation/repository"):
            models.locate("hf://only-one-part", "faster-whisper")
