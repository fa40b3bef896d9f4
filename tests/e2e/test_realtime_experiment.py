"""An experiment at real-time pace, as its users run it: a dialogue said to a pipeline, and a person who comes first."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import PATIENCE, Installation, installation
from e2e.refusals import OFFER, pipeline

pytestmark = pytest.mark.long


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path, "--offer", f"{OFFER},caller") as made:
        spec = pipeline("sim", llm={"text": "Yes, that is so."}, tts={"seconds": 0.8})
        made.put_pipeline({**spec, "turn_taking": {"vad": "silero", "end_of_turn_silence": 0.3}})
        yield made


def dialogue(server: Installation, question: Path, *rules: dict[str, Any], **known: str) -> None:
    """A dataset `talk` of one dialogue in which the question is asked once by each rule. `known`: fields of each."""
    folder = server.folder / "talk"
    folder.mkdir()
    shutil.copy(question, folder / "question.wav")
    said = [{"path": "question.wav", "when": rule, **known} for rule in rules]
    (folder / "samples.jsonl").write_text(json.dumps({"id": "talk", "utterances": said}) + "\n")
    done = server.run("dataset", "import", str(folder), "--name", "talk", "--accept", "doubled")
    assert done.returncode == 0, done.stdout + done.stderr


def cells(server: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.request("GET", "/api/v1/experiments/e1/cells").json()["items"]
    return found


def test_a_dialogue_is_said_to_a_pipeline_a_person_comes_first_and_every_cell_counts_once(
    server: Installation, question: Path
) -> None:
    dialogue(server, question, {"rule": "after_reply"}, {"rule": "into_reply", "word": 3},
             {"rule": "after_reply", "seconds": 0.5})  # fmt: skip
    begun = server.run(
        "experiment", "run", "talk", "--pipelines", "sim", "--pace", "realtime", "--name", "e1", "--repeats", "2",
        "--detach",
    )  # fmt: skip
    assert begun.returncode == 0, begun.stderr
    # A person talks to the same machine while a cell is played.
    deadline = time.monotonic() + PATIENCE
    while not any(agent["sessions"] for agent in server.request("GET", "/api/v1/agents").json()["items"]):
        assert time.monotonic() < deadline, server.logs()
        time.sleep(0.1)
    (person,) = server.listen(question, "--pipeline", "sim")
    assert person["status"] == "completed"
    out = server.folder / "experiment.json"
    done = server.run(
        "experiment", "run", "talk", "--pipelines", "sim", "--pace", "realtime", "--name", "e1", "--repeats", "2",
        "--json", str(out), timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + server.logs()
    told = json.loads(out.read_text())
    assert told["pace"] == "realtime"
    assert (told["cells"]["planned"], told["cells"]["run"], told["cells"]["failed"]) == (2, 2, 0)
    found = cells(server)
    assert {cell["status"] for cell in found} == {"done"}
    assert sum(cell["disturbed"] for cell in found) >= 1
    for cell in found:
        turns = server.request("GET", f"/api/v1/turns?session={cell['session_id']}").json()["items"]
        assert len(turns) == 3
        assert {(turn["cell"], turn["origin"], turn["live"]) for turn in turns} == {(cell["cell"], "experiment", True)}
        assert sum(turn["interrupted"] for turn in turns) == 1, "the second was said into the reply to the first"
    assert server.request("GET", f"/api/v1/turns/{person['turn_id']}").json()["cell"] == ""
