"""An experiment on two agents of which one is killed, on a server that is killed too: each cell once, and no more."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from e2e import staging
from e2e.conftest import Installation
from e2e.staging import EVERYTHING, QUESTION
from openomni.datasets import Sample, Sound, Utterance

pytestmark = pytest.mark.long

WHOLE = bool(os.environ.get("OPENOMNI_WHOLE"))
"""Forty samples through three pipelines three times, four dialogues among them, takes minutes; else a quarter of it."""
SINGLE, DIALOGUES, SAID = (36, 4, 3) if WHOLE else (9, 1, 3)
PIPELINES, REPEATS = ("quick", "middling", "slow"), 3
CELLS = (SINGLE + DIALOGUES) * len(PIPELINES) * REPEATS
TURNS = (SINGLE + DIALOGUES * SAID) * len(PIPELINES) * REPEATS


def record(made: Installation, name: str) -> None:
    data = QUESTION.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert made.request("PUT", f"/api/v1/recordings/{name}", json={"media_type": "audio/wav"}).is_success
    assert made.request("PATCH", f"/api/v1/recordings/{name}", params={"offset": 0}, content=data).is_success
    done = made.request("POST", f"/api/v1/recordings/{name}/complete", json={"sha256": digest, "size": len(data)})
    assert done.is_success, done.text


def keep_dataset(made: Installation) -> None:
    record(made, "question")
    said = Utterance(sound=Sound(path="question"), text="What is the capital of France?")
    samples = [Sample(id=f"s{number}", utterances=(said,)) for number in range(SINGLE)]
    samples += [Sample(id=f"d{number}", utterances=(said,) * SAID) for number in range(DIALOGUES)]
    body = {"name": "questions", "samples": msgspec.to_builtins(samples)}
    answer = made.request("POST", "/api/v1/datasets", json=body)
    assert answer.is_success, answer.text


def asked(made: Installation, path: str = "") -> dict[str, Any]:
    answer = made.request("GET", f"/api/v1/experiments/big{path}")
    return dict(answer.json()) if answer.is_success else {}


def run_of(made: Installation) -> int:
    try:
        return int(asked(made).get("cells", {}).get("run", 0))
    except Exception:
        return 0  # the server is away


def cells(made: Installation) -> dict[str, dict[str, Any]]:
    found, cursor = {}, ""
    while cursor is not None:
        page = made.request("GET", "/api/v1/experiments/big/cells", params={"limit": 500, "cursor": cursor}).json()
        found |= {each["cell"]: each for each in page["items"]}
        cursor = page["next"]
    return found


def command(*pipelines: str) -> list[str]:
    return ["experiment", "run", "questions", "--pipelines", ",".join(pipelines), "--repeats", str(REPEATS),
            "--name", "big", "--metrics", "wer", "--json", "big.json"]  # fmt: skip


def result(made: Installation) -> dict[str, Any]:
    return dict(json.loads((made.folder / "big.json").read_text()))


def test_every_cell_is_run_once_whoever_dies(bare: Installation, tmp_path: Path) -> None:
    keep_dataset(bare)
    for number, name in enumerate((*PIPELINES, "fourth")):
        bare.put_pipeline(staging.pipeline(name, llm_s=0.02 * number, tts_s=0.01, reply_s=0.2))
    agents = bare.agents({"one": EVERYTHING, "two": EVERYTHING})
    running = bare.start("run", *command(*PIPELINES))
    staging.until(lambda: run_of(bare) >= CELLS // 6, "nothing is run", 120)
    agents["one"].kill()
    staging.until(lambda: run_of(bare) >= CELLS // 3, "it does not go on without an agent", 240)
    staging.kill(bare, "api")
    staging.until(lambda: running.poll() is not None, "it does not end", 400)
    assert running.returncode == 0, bare.logs()
    done = result(bare)
    assert (done["status"], done["cells"]["planned"], done["cells"]["done"]) == ("done", CELLS, CELLS)
    assert (done["turns"]["total"], done["turns"]["failed"], done["turns"]["cancelled"]) == (TURNS, 0, 0)
    assert done["cells"]["scored"] == CELLS
    before = cells(bare)
    assert {each["status"] for each in before.values()} == {"done"}
    assert len({each["session_id"] for each in before.values()}) == len(before) == CELLS + len(PIPELINES)

    again = bare.run(*command(*PIPELINES))
    assert again.returncode == 0, again.stderr
    assert cells(bare) == before, "run again, it does nothing"

    fourth = bare.start("run", *command(*PIPELINES, "fourth"))
    staging.until(lambda: run_of(bare) > CELLS + 5, "a pipeline more is not run", 120)
    assert bare.run("experiment", "cancel", "big").returncode == 0
    assert fourth.wait(30) == 1
    stopped = asked(bare)
    assert (stopped["status"], stopped["cells"]["running"], stopped["cells"]["waiting"]) == ("cancelled", 0, 0)
    on = bare.run(*command(*PIPELINES, "fourth"))
    assert on.returncode == 0, on.stderr
    after = cells(bare)
    assert result(bare)["cells"]["done"] == CELLS * 4 // 3
    assert {key: after[key] for key in before} == before, "only its own cells are run"
