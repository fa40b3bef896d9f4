"""`openomni models`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.conftest import FileServer, Shelf
from openomni.cli.main import main
from openomni.cli.models import needed_by
from openomni.pipeline import spec


def openomni(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["openomni", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture
def toy(server: FileServer, shelf: Shelf) -> str:
    server.files["/toy/model.bin"] = b"weights"
    shelf.add("toy", {"model.bin": b"weights"}, [{"url": f"{server.url}/toy"}])
    return "toy"


def test_list_says_what_is_here(toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert openomni(monkeypatch, "models", "pull", toy) == 0
    assert openomni(monkeypatch, "models", "list", "--json", str(tmp_path / "out.json")) == 0
    listed = {each["name"]: each for each in json.loads((tmp_path / "out.json").read_text())["models"]}
    assert listed["toy"]["present"]
    assert not listed["whisper-tiny.en"]["present"]
    assert listed["toy"]["files"]["model.bin"]["size"] == 7


def test_check_fails_for_a_file_that_was_changed(
    toy: str, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    openomni(monkeypatch, "models", "pull", toy)
    assert openomni(monkeypatch, "models", "check") == 0
    (cache / "toy" / "model.bin").write_bytes(b"WEIGHTS")
    assert openomni(monkeypatch, "models", "check", toy) == 1
    assert "openomni models pull toy" in capsys.readouterr().err


def test_a_model_that_is_not_here_fails_its_check(toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert openomni(monkeypatch, "models", "check", toy) == 1


def test_an_unknown_model_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert openomni(monkeypatch, "models", "pull", "tiny.enn") == 2
    assert capsys.readouterr().err.startswith("openomni: unknown model 'tiny.enn'; did you mean 'tiny.en'?")


def test_a_pipeline_needs_the_models_that_its_stages_name_or_get_by_default() -> None:
    pipeline = spec.parse(
        "name: p\nstages:\n- stt: faster-whisper\n- llm: llama-cpp\n  model: hf://org/toy/toy.gguf\n"
        "- tts: piper\n  voice: /voices/mine.onnx\n"
    )
    assert [model.name for model in needed_by(pipeline)] == ["whisper-tiny.en"]
    local = [model.name for model in needed_by(spec.builtin()["local"])]
    assert local == ["whisper-tiny.en", "smollm2-135m-instruct", "en_US-joe-medium", "smart-turn-v3.2"]
