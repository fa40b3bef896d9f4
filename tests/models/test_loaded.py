from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from openomni import models
from openomni.models import loaded as module


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENOMNI_MODELS", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_folder_is_all_of_its_files_and_a_file_itself(tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "b.bin").write_bytes(b"b")
    (tmp_path / "model" / module.STAMP).write_text("{}")
    (tmp_path / "a.bin").write_bytes(b"aa")
    found = models.contents([tmp_path / "model", tmp_path / "a.bin", tmp_path / "missing"])
    assert found == [models.LoadedFile("a.bin", sha256(b"aa"), 2), models.LoadedFile("deep/b.bin", sha256(b"b"), 1)]


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    hashed = module._sha256
    monkeypatch.setattr(module, "_sha256", lambda path: (read.append(path), hashed(path))[1])
    file = tmp_path / "a.bin"
    file.write_bytes(b"one")
    assert models.contents([file]) == models.contents([file])
    assert len(read) == 1
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert models.contents([file]) == [models.LoadedFile("a.bin", sha256(b"two"), 3)]
    assert len(read) == 2


@pytest.mark.parametrize("broken", ["", "[]", '{"x": 1}', "\xff"])
def test_what_was_kept_of_earlier_may_be_broken(tmp_path: Path, cache: Path, broken: str) -> None:
    cache.mkdir()
    (cache / ".hashes.json").write_text(broken, "latin-1")
    (tmp_path / "a.bin").write_bytes(b"a")
    assert models.contents([tmp_path / "a.bin"])[0].sha256 == sha256(b"a")


def test_what_is_located_is_noted_where_somebody_wants_to_know(tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(b"x")
    models.locate(str(file), "llama-cpp")
    with models.noting() as loaded:
        models.locate(str(file), "llama-cpp")
    models.note(tmp_path)
    assert loaded == {file}
