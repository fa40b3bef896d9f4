"""`openomni experiment score`: what it asks, and what it says of the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import typer

from openomni.cli import asking, experiment
from openomni.cli import experiment_score as module
from openomni.cli.main import _call
from openomni.errors import OpenOmniError, WrongUsage


def count(metric: str, **fields: Any) -> dict[str, Any]:
    known = {"planned": 8, "scored": 0, "not_applicable": 0, "unparsed": 0, "failed": 0, "skipped": 0, "awaited": 0}
    return {"metric": metric, "problem": "", "reason": "", **known, **fields}


class Server:
    """Stands for `Api`; scoring is over when it is looked at for the second time."""

    done: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[Any]] = []

    def __init__(self, server: str, token: str) -> None:
        self.looks = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    def patient(self, notice: Any) -> Self:
        return self

    async def get(self, path: str, **query: Any) -> Any:
        self.asked.append(path)
        self.looks += 1
        return {"experiment": "e", "running": self.looks < 2, "metrics": self.done}

    async def post(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        return {"experiment": "e", "running": True, "metrics": []}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    monkeypatch.setenv("OPENOMNI_TOKEN", "oo_1_x")
    monkeypatch.setattr(asking, "Api", Server)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(Server, "asked", [])
    monkeypatch.setattr(Server, "done", [count("wer", scored=7, failed=1, reason="raised KeyError: 'x'")])
    return Server


def call(*arguments: str) -> int:
    app = typer.Typer(add_completion=False)
    app.command()(module.score)
    with pytest.raises(SystemExit) as end:
        _call(app, arguments, "openomni experiment score")
    return int(end.value.code or 0)


def test_it_is_followed_to_its_end_and_said_in_a_line_a_metric(
    server: type[Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert call("my experiment", "--metrics", "wer, cer", "--again", "--json", str(out)) == 0
    body = {"metrics": ["wer", "cer"], "again": True}
    assert server.asked == [
        ("/experiments/my%20experiment/scores", body),
        *["/experiments/my%20experiment/scoring"] * 2,
    ]
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["metric", "planned", "scored", "not", "applicable", "unparsed", "failed", "skipped"]
    assert line.split()[:6] == ["wer", "8", "7", "0", "0", "1"]
    assert line.endswith("the last that failed: raised KeyError: 'x'")
    assert json.loads(out.read_text())["metrics"] == server.done


def test_a_table_of_prices_goes_along_once_it_was_checked(server: type[Server], tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("prices: {stt:openai: {minute in: 0.006}}")
    call("e", "--prices", str(file))
    (_, body), *_ = server.asked
    assert body["metrics"] == ["cost"]
    assert body["parameters"] == {"cost": {"prices": {"prices": {"stt:openai": {"minute in": 0.006}}}}}
    file.write_text("prices: {stt:openai: {minutes: 0.006}}")
    with pytest.raises(WrongUsage, match="unknown unit 'minutes'"):
        call("e", "--prices", str(file))


@pytest.mark.parametrize(
    ("done", "line"),
    [
        (count("wr", problem="unknown metric 'wr'"), "wr scored nothing: unknown metric 'wr'"),
        (count("reply_wer", awaited=3), "3 scores wait for the sound of replies"),
    ],
)
def test_what_could_not_be_scored_is_its_exit_status(server: type[Server], done: dict[str, Any], line: str) -> None:
    server.done = [done]
    app = typer.Typer(add_completion=False)
    app.command()(module.score)
    with pytest.raises(OpenOmniError) as failed:
        _call(app, ["e"], "openomni experiment score")
    assert line in str(failed.value)
    assert failed.value.exit_code == 1


def test_a_run_tells_of_each_metric_that_failed_or_could_not_be_had(server: type[Server]) -> None:
    server.done = [
        count("wer", scored=8),
        count("mine", failed=2, reason="raised KeyError: 'x'"),
        count("wr", problem="unknown metric"),
    ]
    lines = asking.ask("http://127.0.0.1:8000", "t", lambda api: experiment._scored(api, "e"))
    assert lines == [
        "metric      mine: failed 2 times; the last: raised KeyError: 'x'",
        "metric      wr: unknown metric",
    ]
