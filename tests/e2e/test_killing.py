"""The benchmark that kills, in short, in mid-question: every utterance is a turn afterwards, and none two."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "killing.py"


@pytest.mark.long
def test_every_utterance_is_one_turn_whoever_was_killed_in_it(tmp_path: Path) -> None:
    out = tmp_path / "killing.json"
    command = [sys.executable, str(SCRIPT), "--times", "1", "--when", "question", "--seed", "7", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text())["figures"]
    told = {name: sum(count for key, count in figures.items() if key.endswith(f": {name}"))
            for name in ("kills", "utterances", "turns", "lost", "twice", "odd")}  # fmt: skip
    assert told == {"kills": 4, "utterances": 6, "turns": 6, "lost": 0, "twice": 0, "odd": 0}
