"""Somebody else plays the user: a script in a made voice, and the guide's own player, as the guide has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Installation, installation
from e2e.refusals import OFFER, pipeline
from e2e.test_realtime_experiment import dialogue

pytestmark = [pytest.mark.long, pytest.mark.models]
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "players.md"
IMPATIENT = "impatient:Impatient"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert code is not None
    (tmp_path / "impatient.py").write_text(code[1])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    offer = f"{OFFER},caller,player:script,player:{IMPATIENT}"
    with installation(tmp_path, "--offer", offer) as made:
        answer = "Yes, that is so, and there is much more to say of it."
        spec = pipeline("sim", llm={"text": answer}, tts={"seconds": 0.8})
        made.put_pipeline({**spec, "turn_taking": {"vad": "silero", "end_of_turn_silence": 0.3}})
        yield made


def run(server: Installation, name: str, *options: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The comparison, and the turns of the one cell."""
    out = server.folder / f"{name}.json"
    done = server.run(
        "experiment", "run", "talk", "--pipelines", "sim", "--pace", "realtime", "--name", name, *options, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr + server.logs()
    assert server.run("experiment", "compare", name, "--json", str(out)).returncode == 0
    (cell,) = [each for each in server.request("GET", f"/api/v1/experiments/{name}/cells").json()["items"]
               if each["repeat"]]  # fmt: skip
    turns = server.request("GET", f"/api/v1/turns?session={cell['session_id']}").json()["items"]
    return json.loads(out.read_text()), sorted(turns, key=lambda turn: int(turn["index"]))


def test_a_script_and_a_player_of_ones_own_play_the_user(server: Installation, question: Path) -> None:
    asked = "What is the capital of Italy?"
    dialogue(server, question, {"rule": "after_reply"}, {"rule": "after_reply"}, text=asked)
    found, turns = run(server, "script", "--player", "script")
    assert found["player"] == "script; voice piper"
    assert [each["player"].split()[0] for each in found["players"]] == ["player:script"]
    assert len(turns) == 2
    found, turns = run(server, "own", "--player", f"{IMPATIENT},words=8")
    assert found["player"] == f"{IMPATIENT}, words 8; voice piper"
    assert len(turns) == 2, "it asked again, for the answer had too many words"
    again = server.run("experiment", "run", "talk", "--pipelines", "sim", "--pace", "realtime", "--name", "own")
    assert again.returncode == 1
    assert "has the user played by" in again.stderr
