"""Models from a Hugging Face hub, by its own client against a server that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

import pytest

from models.conftest import FileServer, Seen, Shelf
from openomni import models
from openomni.models import ModelError

COMMIT = "0" * 39 + "1"


def publish(server: FileServer, repository: str, files: dict[str, bytes]) -> None:
    """Puts a repository on the hub, as `main` and under its commit."""
    siblings = [{"rfilename": name} for name in files]
    about = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
    for revision in ("main", COMMIT):
        server.files[f"/api/models/{repository}/revision/{revision}"] = json.dumps(about).encode()
        server.headers[f"/api/models/{repository}/revision/{revision}"] = {"Content-Type": "application/json"}
        tree = [{"type": "file", "path": name, "size": len(content), "oid": "0"} for name, content in files.items()]
        server.files[f"/api/models/{repository}/tree/{revision}"] = json.dumps(tree).encode()
        for name, content in files.items():
            path = f"/{repository}/resolve/{revision}/{name}"
            server.files[path] = content
            etag = hashlib.sha256(content).hexdigest()
            server.headers[path] = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}


@pytest.fixture
def hub(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    constants = pytest.importorskip("huggingface_hub.constants", reason="the hub's client is not installed")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


def test_one_file_of_a_repository(hub: FileServer) -> None:
    publish(hub, "org/toy-GGUF", {"toy.gguf": b"weights"})
    assert models.locate("hf://org/toy-GGUF/toy.gguf", "llama-cpp").read_bytes() == b"weights"


def test_a_whole_repository_less_what_is_not_wanted(hub: FileServer) -> None:
    publish(hub, "org/toy", {"model.bin": b"weights", "config.json": b"{}", "README.md": b"long"})
    folder = models.locate("hf://org/toy", "faster-whisper", ("model.bin",), ("*.json", "model.bin"))
    assert {path.name for path in folder.iterdir()} == {"model.bin", "config.json"}


def test_once_here_the_network_is_not_touched(hub: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub, "org/toy", {"model.bin": b"weights"})
    first = models.locate("hf://org/toy", "faster-whisper", ("model.bin",))
    file = models.locate("hf://org/toy/model.bin", "llama-cpp")

    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert models.locate("hf://org/toy", "faster-whisper", ("model.bin",)) == first
    assert models.locate("hf://org/toy/model.bin", "llama-cpp") == file


def test_a_revision(hub: FileServer) -> None:
    publish(hub, "org/toy", {"toy.gguf": b"weights"})
    assert models.locate(f"hf://org/toy@{COMMIT}/toy.gguf", "llama-cpp").read_bytes() == b"weights"


def test_a_repository_of_another_kind_of_model(hub: FileServer) -> None:
    publish(hub, "org/toy", {"pytorch.bin": b"weights"})
    with pytest.raises(ModelError, match=r"holds no model\.bin"):
        models.locate("hf://org/toy", "faster-whisper", ("model.bin",))


@pytest.mark.parametrize("reference", ["hf://org/none", "hf://org/none/toy.gguf"])
def test_what_the_hub_does_not_have_is_one_line(hub: FileServer, reference: str) -> None:
    with pytest.raises(ModelError, match="could not be fetched from the hub") as caught:
        models.locate(reference, "llama-cpp")
    assert "\n" not in str(caught.value)


def test_a_catalogues_model_comes_from_the_hub_with_its_pins_checked(
    hub: FileServer, shelf: Shelf, progress: Seen
) -> None:
    publish(hub, "org/toy", {"voices/model.bin": b"weights"})
    sources = [{"hub": "org/toy", "revision": COMMIT, "folder": "voices"}]
    shelf.add("toy", {"model.bin": b"weights"}, sources)
    assert (models.ensure("toy", progress) / "model.bin").read_bytes() == b"weights"
    shelf.add("other", {"model.bin": b"WEIGHTS"}, sources)
    with pytest.raises(ModelError, match="SHA-256"):
        models.ensure("other", progress)
