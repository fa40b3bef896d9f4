"""`openomni bench live` over real processes, with simulated stages; what it says when it can't."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.conftest import openomni
from e2e.refusals import pipeline, refused

pytestmark = pytest.mark.long

QUESTIONS, PAUSED = 3, 1


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = openomni("bench", "live", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder, check=False)


@pytest.mark.models  # the questions are read by the local voice, and its recogniser finds the words
def test_callers_ask_over_the_real_path_and_each_question_has_its_row(tmp_path: Path) -> None:
    stages = pipeline("sim", tts={"seconds": 0.4}, llm={"text": "Yes."})
    (tmp_path / "sim.yaml").write_text(yaml.safe_dump(stages))
    options = ["--turns", str(QUESTIONS), "--paused", str(PAUSED), "--sessions", "2", "--json", "out.json"]
    done = bench(tmp_path, "--pipeline", "sim.yaml", *options)
    assert done.returncode == 0, done.stderr
    out = json.loads((tmp_path / "out.json").read_text())
    found: dict[str, Any] = out["figures"]
    assert (found["questions"], found["paused_utterances"], found["sessions"]) == (QUESTIONS, PAUSED, 2)
    assert found["answered"] == QUESTIONS
    assert 0 < found["voice_to_voice_p50_s"] <= found["voice_to_voice_p95_s"]
    assert found["frames_lost"] == 0
    assert {"false_cut_rate", "added_p95_s", "residue_p95_share"} <= found.keys()
    assert out["machine"]["cores"]
    assert out["settings"]["pipeline"] == "sim"
    rows = out["utterances"]
    assert [row["what"] for row in rows].count("question") == QUESTIONS
    assert [row["what"] for row in rows].count("paused") == PAUSED
    assert sum(row["what"] == "question_beside_others" for row in rows) >= QUESTIONS
    assert all(row["transcript"] for row in rows)
    assert "voice to voice, p50" in done.stdout


@pytest.mark.models
def test_a_pipeline_that_answers_nothing_is_told_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "mute.yaml").write_text(yaml.safe_dump(pipeline("mute", llm={"fail": "raise"})))
    done = bench(tmp_path, "--pipeline", "mute.yaml", "--turns", "1", "--paused", "0")
    assert done.returncode == 1
    assert "openomni: no question was answered: " in done.stderr.splitlines()[-1]
    assert "simulated failure" in done.stderr.splitlines()[-1]


def test_a_pipeline_that_there_is_not_and_a_folder_without_recordings_are_refused(tmp_path: Path) -> None:
    refused(bench(tmp_path, "--pipeline", "lokal"), 2, "lokal")
    refused(bench(tmp_path, "--json", "nowhere/out.json"), 1, "nowhere")
    (tmp_path / "empty").mkdir()
    refused(bench(tmp_path, "--recordings", "empty"), 1, "empty holds no recording of one utterance")
