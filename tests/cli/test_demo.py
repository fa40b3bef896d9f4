"""`openomni demo`, with stages that answer in a known way; the real models are in the tests of the main job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PIPELINE = """
name: scripted
stages:
  - stt: simulated
    text: What is the weather like?
  - llm: simulated
    text: It is sunny today. Take a walk.
  - tts: simulated
    seconds: 0.2
turn_taking: {vad: energy}
"""


def demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openomni.cli.main", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)


def test_a_pipeline_that_is_none_is_one_line(tmp_path: Path) -> None:
    done = demo(tmp_path, "--pipeline", "locl")
    assert done.returncode == 2
    assert "did you mean 'local'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_question_that_is_no_recording_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "scripted.yaml").write_text(PIPELINE)
    (tmp_path / "question.wav").write_text("not a sound")
    offer = ["--pipeline", "scripted.yaml", "--question", "question.wav", "--json", "out.json"]
    done = demo(tmp_path, *offer)
    assert done.returncode in (1, 2)
    assert "question.wav" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.json").exists()


@pytest.mark.long
def test_it_answers_the_bundled_question(tmp_path: Path) -> None:
    (tmp_path / "scripted.yaml").write_text(PIPELINE)
    done = demo(tmp_path, "--pipeline", "scripted.yaml", "--json", "out.json")
    assert done.returncode == 0, done.stderr
    (turn,) = json.loads((tmp_path / "out.json").read_text())["turns"]
    assert turn["transcript"] == "What is the weather like?"
    assert turn["reply_text"] == "It is sunny today. Take a walk."
    assert (tmp_path / turn["reply_audio"]).is_file()
    assert "voice to voice" in done.stdout
