"""`openomni.results` and `openomni report` against the API in this process: frames, pages, files, lines of error."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections

from api.test_latency_report import session_of, task_of, turn_of
from openomni import results as module
from openomni.api.accounts.models import Project, Scope, Token
from openomni.cli.main import run
from openomni.cli.report import moment
from openomni.errors import OpenOmniError, WrongUsage
from openomni.results import Results, connect

COMPARED = {
    "experiment": "which", "baseline": "a", "confidence": 0.95, "axes": {"latency": "turn_s"}, "front": [],
    "metrics": [
        {"metric": "wer", "version": "1", "unit": "", "pipelines": [
            {"pipeline": "a", "value": 0.2, "interval": [0.1, 0.3], "difference": None},
            {"pipeline": "b", "value": 0.1, "interval": [0.0, 0.2], "difference": -0.1},
        ]},
    ],
}  # fmt: skip


def speaks_to(transport: httpx.BaseTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    real = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **settings: real(**settings | {"transport": transport}))


@pytest.fixture
def server(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The API itself, in this thread, with a token in the environment."""
    speaks_to(httpx.WSGITransport(get_wsgi_application()), monkeypatch)
    monkeypatch.setenv("OPENOMNI_TOKEN", Token.issue(project, [Scope.VIEWER])[1])
    monkeypatch.setenv("COLUMNS", "80")
    # Between requests a server lets its connection go, and with it what this test has not committed.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield project
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def answered_by(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Results:
    """By the last word of its path what the server says, a page or a status."""

    def answer(request: httpx.Request) -> httpx.Response:
        said = answers[request.url.path.rpartition("/")[2]]
        said = said(request) if callable(said) else said
        return said if isinstance(said, httpx.Response) else httpx.Response(200, json=said)

    speaks_to(httpx.MockTransport(answer), monkeypatch)
    return connect("http://127.0.0.1:1", "oo_x")


def test_turns_and_tasks_come_as_frames_page_by_page(server: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    session = session_of(server)
    for index in range(5):
        task_of(turn_of(session, index=index, voice_to_voice_s=index / 10), model_s=0.25)
    turn_of(session, index=5, pipeline="other")
    with connect() as results:
        turns, tasks = results.turns(pipeline="local"), results.tasks(kind="llm")
        assert sorted(turns["voice_to_voice_s"]) == [0.0, 0.1, 0.2, 0.3, 0.4]
        assert list(turns["index"])[:3] == list(results.turns(pipeline="local", limit=3)["index"])
        assert set(tasks["turn_id"]) == set(turns["turn_id"])
        assert tasks["model_s"].mean() == 0.25
        assert "voice_to_voice_s" in results.turns(pipeline="nobody's").columns, "a frame without rows has its columns"
        assert results.latency(by=["day"])["day"].notna().all()
        with pytest.raises(OpenOmniError, match="unknown name in the query"):
            results.turns(pipelin="local")


def test_a_comparison_has_a_row_for_each_metric_and_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = answered_by(monkeypatch, comparison=COMPARED).comparison("which")
    assert list(frame["pipeline"]) == ["a", "b"]
    assert list(frame["metric"]) == ["wer", "wer"]
    assert frame["interval"][1] == [0.0, 0.2]
    assert frame.attrs["baseline"] == "a"


def test_cells_and_scores_are_those_of_an_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"": {"items": [{"cell": "c1"}], "next": "two"}, "two": {"items": [{"cell": "c2"}], "next": None}}
    results = answered_by(
        monkeypatch,
        cells=lambda request: pages[request.url.params.get("cursor", "")],
        scores=lambda request: {"items": [{"metric": request.url.params["metric"]}], "next": None},
    )
    assert list(results.cells("which one")["cell"]) == ["c1", "c2"]
    assert list(results.scores("which one", metric="wer")["metric"]) == ["wer"]
    with pytest.raises(WrongUsage, match="name of the experiment is empty"):
        results.cells("")


def test_more_than_a_frame_takes_is_refused_rather_than_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    results = answered_by(monkeypatch, turns={"items": [{"turn_id": "t"}] * 2, "next": "more"})
    with pytest.raises(OpenOmniError, match="there are more than 3 rows at /turns; ask for fewer, or say limit="):
        results.turns()
    assert len(results.turns(limit=5)) == 5


def _away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused")


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (httpx.Response(401, json={"error": "unknown token"}), "does not accept the token"),
        (httpx.Response(403, json={"error": "no"}), "use one with the scope `viewer`"),
        (httpx.Response(404, json={"error": "there is no experiment 'x'"}), "there is no experiment 'x'"),
        (httpx.Response(500, text="<html>"), "answers 500"),
        (httpx.Response(200, text="<html>"), "gave no JSON"),
        (httpx.Response(200, json={}, headers={"openomni-version": "0.0.1"}), "is openomni 0.0.1 and too old"),
        (_away, r"cannot reach http://127.0.0.1:1 \(Connection refused\); is the server up"),
    ],
)
def test_every_error_is_one_line(said: Any, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OpenOmniError, match=line) as raised:
        answered_by(monkeypatch, turns=said).turns()
    assert "\n" not in str(raised.value)


def test_without_a_token_it_says_where_one_is_taken_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENOMNI_TOKEN", raising=False)
    monkeypatch.delenv("OPENOMNI_TOKEN_FILE", raising=False)
    with pytest.raises(WrongUsage, match="OPENOMNI_TOKEN_FILE to a file"):
        connect()
    (tmp_path / "token").write_text("oo_1_y\n")
    monkeypatch.setenv("OPENOMNI_TOKEN_FILE", str(tmp_path / "token"))
    connect().close()


# ---- the command ---------------------------------------------------------------------------------------------


def test_the_command_prints_what_fits_80_columns_and_writes_files(
    server: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = session_of(server)
    for number in range(200):
        turn_of(session, index=number, voice_to_voice_s=number / 50)
    task_of(turn_of(session, status="failed"))
    task_of(turn_of(session, live=False), component="a-component-of-a-rather-long-name", agent="gpu-01.lab", model_s=1)
    files = {name: tmp_path / f"latency.{name}" for name in ("json", "csv", "parquet")}
    options = [each for name, path in files.items() for each in (f"--{name}", str(path))]
    with pytest.raises(SystemExit) as ended:
        run(["report", "latency", "--pipeline", "local", "--late-after", "3.5", *options])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "202 turns: 177 on time, 24 late, 1 failed" in shown
    assert "local h1, live" in shown
    assert "llm: a-component-of-a-rather-long-name on gpu-01.lab" in shown
    assert max(map(len, shown.splitlines())) <= 80, shown
    report = json.loads(files["json"].read_text())
    row = next(row for row in report["rows"] if row["figure"] == "voice_to_voice_s")
    with files["csv"].open() as file:
        line = next(line for line in csv.DictReader(file) if line["figure"] == "voice_to_voice_s")
    assert float(line["p95_low"]) == row["p95_interval"][0]
    from pyarrow import parquet

    kept = parquet.read_table(files["parquet"]).to_pylist()
    assert [each["figure"] for each in kept] == [each["figure"] for each in report["rows"]]
    assert next(each for each in kept if each["figure"] == "voice_to_voice_s")["p95_high"] == row["p95_interval"][1]


def test_the_command_tells_what_turns_cost(server: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = session_of(server)
    task_of(turn_of(session), usage={"cost": 0.25, "currency": "USD"})
    task_of(turn_of(session), usage=None)
    with pytest.raises(SystemExit):
        run(["report", "cost", "--csv", str(tmp_path / "cost.csv")])
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines()][1] == [
        "local",
        "h1",
        "2",
        "0.2500",
        "USD",
        "0.2500",
        "USD",
        "1",
    ]
    with (tmp_path / "cost.csv").open() as file:
        assert [(line["cost"], line["unknown"]) for line in csv.DictReader(file)] == [("0.25", "1")]


def test_without_a_turn_the_command_says_so(server: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["report", "latency"])
    assert capsys.readouterr().out.splitlines()[0] == "0 turns"


def test_what_the_command_can_be_asked_wrongly(server: Project, tmp_path: Path) -> None:
    for arguments, line in (
        (["--since", "yesterday"], "write a day such as"),
        (["--include", "everything"], "include"),
        (["--experiment", "nobody's"], "there is no experiment"),
        (["--csv", str(tmp_path / "no" / "rows.csv")], "there is no folder"),
    ):
        with pytest.raises(OpenOmniError, match=line):
            run(["report", "latency", *arguments])


def test_since_is_a_day_a_moment_or_so_long_ago() -> None:
    ago = partial(moment, now=datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert [ago(text) for text in ("24h", "7d", "90m")] == [
        "2026-02-28T12:00:00Z", "2026-02-22T12:00:00Z", "2026-03-01T10:30:00Z",
    ]  # fmt: skip
    assert moment("2026-01-31T10:00:00+01:00") == "2026-01-31T09:00:00Z"
    assert moment("") == ""


# ---- the notebook of the docs --------------------------------------------------------------------------------


def test_the_notebook_of_the_docs_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its blocks, one after another, against a server that says what an experiment's would."""
    metrics = [
        {
            "metric": name, "version": "1", "unit": unit, "statistic": "mean", "better": "lower", "kind": "accuracy",
            "pipelines": [
                {"pipeline": "a", "planned": 8, "run": 8, "scored": 8, "value": 0.2, "interval": [0.1, 0.3],
                 "difference": None, "difference_interval": None, "verdict": None},
                {"pipeline": "b", "planned": 8, "run": 8, "scored": 7, "value": 0.1, "interval": [0.0, 0.2],
                 "difference": -0.1, "difference_interval": [-0.15, -0.05], "verdict": "better"},
                {"pipeline": "c", "planned": 8, "run": 8, "scored": 0, "value": None, "interval": None,
                 "difference": None, "difference_interval": None, "verdict": "too_few"},
            ],
        }
        for name, unit in (("wer", ""), ("turn_s", "s"))
    ]  # fmt: skip
    row = {"pipeline": "a", "kind": "llm", "figure": "model_s", "p50": 0.25}
    answered_by(
        monkeypatch,
        comparison=COMPARED | {"metrics": metrics, "baseline": "a"},
        cells={"items": [{"cell": "c1", "pipeline": "a", "status": "done"}], "next": None},
        turns={"items": [{"turn_id": "t", "cell": "c1", "transcript": "", "reply_text": "", "outcome": "answered"}],
               "next": None},
        latency={"rows": [row], "turns": {"total": 1}, "left_out": {}},
    ).close()  # fmt: skip
    monkeypatch.setenv("OPENOMNI_SERVER", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENOMNI_TOKEN", "oo_x")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs/guides/from-experiment-to-figure.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    assert len(blocks) == 8
    cells: dict[str, Any] = {}
    for block in blocks:
        exec(block, cells)
    assert "0.100 (-0.100 [-0.150, -0.050])" in cells["wide"].to_string()
    drawn = ElementTree.fromstring((tmp_path / "difference.svg").read_text())
    assert len(drawn.findall("{http://www.w3.org/2000/svg}circle")) == 1, "what the data can't carry is not drawn"
