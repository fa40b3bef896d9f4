"""`openomni pipelines`, as somebody types it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import commands

GOOD = """\
name: brief
stages:
  - stt: faster-whisper
    model: tiny.en
  - llm: llama-cpp
    max_tokens: 24
    instructions: Answer in five words or fewer.
  - tts: piper
turn_taking: {vad: silero, end_of_turn: words}
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(("pipelines", *arguments), folder, os.environ, 120)


def checked(folder: Path, text: str) -> tuple[int, list[str]]:
    """The exit code, and what is said of a file with this text."""
    (folder / "p.yaml").write_text(text, encoding="utf-8")
    done = run(folder, "check", "p.yaml")
    assert "Traceback" not in done.stderr
    return done.returncode, [line for line in (done.stdout + done.stderr).splitlines() if line]


def test_the_built_in_ones_are_listed_with_their_hash(tmp_path: Path) -> None:
    done = run(tmp_path, "list", "--json", "out.json")
    assert done.returncode == 0
    local, full_window = json.loads((tmp_path / "out.json").read_text())["pipelines"]
    assert (local["name"], full_window["name"]) == ("local", "local-full-window")
    assert local["hash"] in done.stdout


def test_what_is_shown_can_be_read_again_and_is_the_same_pipeline(tmp_path: Path) -> None:
    shown = run(tmp_path, "show", "local", "--json", "out.json")
    (tmp_path / "again.yaml").write_text(shown.stdout, encoding="utf-8")
    done = run(tmp_path, "check", "again.yaml")
    assert done.returncode == 0
    assert json.loads((tmp_path / "out.json").read_text())["hash"] in done.stdout


def test_a_right_file_is_right(tmp_path: Path) -> None:
    code, (line,) = checked(tmp_path, GOOD)
    assert code == 0
    assert line.startswith("p.yaml: right (brief, hash ")


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("max_token:", "max_tokens:", ":6: stage 2 (llm): unknown parameter 'max_token'; did you mean 'max_tokens'?"),
        ("max_tokens: many", "max_tokens: 24", "p.yaml:6: stage 2 (llm): parameter 'max_tokens'"),
        ("instructions: [5]", "instructions: Answer in five words or fewer.", "p.yaml:7: stage 2 (llm): instructions"),
        ("llm: lama-cpp", "llm: llama-cpp", ":5: stage 2 (llm): unknown component 'lama-cpp'; did you mean"),
        ("model: tiny.em", "model: tiny.en", "unknown model 'tiny.em'"),
        ("- sst: faster-whisper", "- stt: faster-whisper", ":3: stage 1: unknown kind 'sst'; did you mean 'stt'?"),
        ("stagess:", "stages:", "p.yaml:2: unknown key 'stagess'; did you mean 'stages'?"),
        ("vad: silera", "vad: silero", "p.yaml:9: turn_taking: unknown vad 'silera'; did you mean 'silero'?"),
        ("end_of_turn: wordy", "end_of_turn: words", "turn_taking: unknown end_of_turn 'wordy'; did you mean 'words'?"),
        ("vda: silero", "vad: silero", "p.yaml:9: turn_taking: unknown key 'vda'; did you mean 'vad'?"),
        ("silero, unfinished_silence: -1,", "silero,", "unfinished_silence must be more than 0 seconds"),
        ("name: a b", "name: brief", "p.yaml:1: `name` must be up to 80 letters"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place_and_the_mend(tmp_path: Path, wrong: str, right: str, said: str) -> None:
    assert right in GOOD
    code, lines = checked(tmp_path, GOOD.replace(right, wrong, 1))
    assert code == 2
    assert len(lines) == 1
    assert said in lines[0]


def test_what_judges_a_pause_may_be_named_by_its_import_path(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from openomni import component\n\n\n@component('turn', 'my-judge')\nclass MyJudge:\n"
        "    def finished(self, audio, text):\n        return 0.5\n"
    )
    code, (line,) = checked(tmp_path, GOOD.replace("end_of_turn: words", "end_of_turn: 'mine:MyJudge'"))
    assert (code, line[:14]) == (0, "p.yaml: right "), line
    code, (line,) = checked(tmp_path, GOOD.replace("end_of_turn: words", "end_of_turn: 'mine:MyJugde'"))
    assert code == 2
    assert "the module 'mine' has no class 'MyJugde'" in line


def test_every_wrong_parameter_is_told_at_its_own_line(tmp_path: Path) -> None:
    code, lines = checked(tmp_path, GOOD.replace("max_tokens: 24", "max_token: 24\n    temprature: 1"))
    assert code == 2
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == ["6", "7"]


def test_a_stage_whose_input_nobody_makes_is_named(tmp_path: Path) -> None:
    code, lines = checked(tmp_path, GOOD.replace("  - stt: faster-whisper\n    model: tiny.en\n", ""))
    assert code == 2
    assert lines == [
        "p.yaml:3: stage 1 (llm): needs 'transcript', which no earlier stage makes; "
        "put a stt or end_to_end stage before it"
    ]


def test_what_is_not_there_or_no_yaml_is_said_so(tmp_path: Path) -> None:
    assert "no.yaml: No such file or directory; check the path" in run(tmp_path, "check", "no.yaml").stderr
    assert "unknown pipeline 'lokal'; did you mean 'local'?" in run(tmp_path, "check", "lokal").stderr
    assert checked(tmp_path, "name: [")[1][0].startswith("openomni: p.yaml:")
    assert checked(tmp_path, "- just\n- a list")[0] == 2


def test_what_is_wrong_is_written_as_json_too(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(GOOD.replace("max_tokens", "max_token"), encoding="utf-8")
    done = run(tmp_path, "check", "local", "p.yaml", "--json", "out.json")
    assert done.returncode == 2
    (problem,) = json.loads((tmp_path / "out.json").read_text())["problems"]
    assert problem.startswith("p.yaml:6: ")
    assert problem in done.stdout
