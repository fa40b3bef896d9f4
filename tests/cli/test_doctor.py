"""`openomni doctor`: what is missing or misconfigured is a line with the mend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openomni.cli.main import run
from openomni.errors import OpenOmniError


def findings(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what was found, by what was looked at."""
    out = tmp_path / "findings.json"
    code = 0
    try:
        run(["doctor", "--json", str(out), *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    return code, {each["what"]: each for each in json.loads(out.read_text())["findings"]}


def test_a_disk_that_is_nearly_full_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENOMNI_DATA_DIR", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=300 * 2**20))
    code, found = findings(tmp_path)
    assert code == 1
    assert found["disk"]["state"] == "fault"
    assert found["disk"]["line"] == f"0.29 GiB free at {tmp_path}"
    assert "--data-dir" in found["disk"]["mend"]


def test_a_server_that_is_away_is_a_fault(tmp_path: Path) -> None:
    code, found = findings(tmp_path, "--server", "http://127.0.0.1:9")
    assert code == 1
    assert "http://127.0.0.1:9 does not answer" in found["server"]["line"]


def test_it_says_what_made_a_turn_slow(tmp_path: Path) -> None:
    parts = [
        {"what": "model", "stage": "llm:slow", "start_s": 0.2, "end_s": 1.1},
        {"what": "end_of_turn", "stage": "", "start_s": 0.0, "end_s": 0.2},
    ]
    turns = tmp_path / "turns.json"
    turns.write_text(json.dumps({"turns": [{"turn_id": "abcdef0123", "parts": parts}]}))
    _, found = findings(tmp_path, "--turns", str(turns))
    assert found["turn"]["line"] == "turn abcdef01: 82% (0.90 s) is model of llm:slow"
    assert "a smaller one" in found["turn"]["mend"]


def test_turns_that_are_none_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(OpenOmniError, match="name a file that --json wrote"):
        run(["doctor", "--turns", str(tmp_path / "none.json")])
