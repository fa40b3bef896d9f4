"""`openomni experiment compare` and `import`: what they say of the server's answer, and when they exit with 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from openomni.cli import asking
from openomni.cli.experiment_export import PART_ROWS, parts
from openomni.cli.main import run
from openomni.errors import OpenOmniError, WrongUsage
from openomni.evaluation.comparison import MeasuredCell, MetricInfo, compare

SLOW = 0.3


class Server:
    """Stands for `Api`."""

    answers: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[Any]] = []

    def __init__(self, server: str, token: str) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def get(self, path: str, **query: Any) -> Any:
        self.asked.append((path, query))
        return self.answers[path]

    async def post(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        return {"samples": 8, "cells": 16, "scores": 16}


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "Api", Server)
    monkeypatch.setenv("OPENOMNI_TOKEN", "oo_token")
    monkeypatch.setenv("COLUMNS", "160")
    measured = [
        MeasuredCell(f"q{at}", "", name, 1, "turn_s", "scored", 1 + at / 10 + (SLOW if name == "slow" else 0))
        for name in ("local", "slow")
        for at in range(8)
    ]
    found = compare(measured, baseline="local", metrics=[MetricInfo("turn_s", "1", "s", "lower", "latency")])
    sample = {
        "sample": "q0",
        "pipelines": [
            {"pipeline": "local", "value": 1.0, "unanswered": False, "outcome": None, "sessions": ["s1"]},
            {"pipeline": "slow", "value": None, "unanswered": True, "outcome": "lost", "sessions": ["s2"]},
        ],
    }
    Server.asked = []
    Server.answers = {
        "/experiments/which%20one": {"status": "done", "cells": {"run": 16, "planned": 16}},
        "/experiments/which%20one/comparison": {"experiment": "which one", **found},
        "/experiments/which%20one/comparison/samples": {"metric": "turn_s", "samples": [sample]},
    }


def called(*arguments: str) -> None:
    with pytest.raises(SystemExit) as done:
        run(["experiment", "compare", "which one", *arguments])
    assert done.value.code == 0


def test_it_prints_what_differs_and_writes_the_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    called("--baseline", "local", "--metrics", "turn_s", "--json", str(file))
    printed = capsys.readouterr().out
    line = next(each for each in printed.splitlines() if each.startswith("slow") and "0/8/0" in each)  # of the mean
    assert "+0.3" in line
    assert "worse" in line
    assert "p95 needs 200" in printed
    assert json.loads(file.read_text())["metrics"][0]["pipelines"][1]["verdict"] == "worse"
    assert Server.asked[0] == ("/experiments/which%20one/comparison", {"baseline": "local", "metrics": "turn_s"})


@pytest.mark.parametrize(
    ("status", "ran", "line"),
    [
        ("done", 16, ""),
        ("running", 14, "it is still running: 14 of 16 cells have run, and these alone are compared"),
        ("cancelled", 0, "it was cancelled, and none of its 16 cells has run: there is nothing to compare"),
    ],
)
def test_it_says_where_there_is_more_to_come(
    status: str, ran: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Server.answers["/experiments/which%20one"] = {"status": status, "cells": {"run": ran, "planned": 16}}
    called()
    assert capsys.readouterr().err.strip() == line


def test_it_fails_where_that_holds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OpenOmniError, match=r"worse: slow by turn_s \(mean\)") as failed:
        run(["experiment", "compare", "which one", "--fail-on", "worse"])
    assert failed.value.exit_code == 1
    called("--fail-on", "better")
    with pytest.raises(WrongUsage, match="worse"):
        run(["experiment", "compare", "which one", "--fail-on", "worst"])


def test_it_lists_wins_and_losses_sample_by_sample(capsys: pytest.CaptureFixture[str]) -> None:
    called("--samples", "turn_s")
    assert "unanswered lost" in capsys.readouterr().out


def test_what_is_imported_is_sent_in_parts_that_a_body_takes() -> None:
    scores = [{"metric": "wer", "sample": str(at)} for at in range(2 * PART_ROWS + 1)]
    long = [{"sample": str(at), "content": {"text": "x" * (1 << 20)}} for at in range(3)]
    bundle = {"metrics": [{"name": "wer", "version": "3"}], "scores": scores, "cells": [], "dataset": {"samples": long}}
    sent = list(parts(bundle))
    assert [len(rows) for part in sent for rows in part.values()] == [1, 1, 1, PART_ROWS, PART_ROWS, 1]
    assert sent[-1]["scores"][0]["version"] == "3"
