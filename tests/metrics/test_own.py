"""A metric of one's own: declared, found in a file, in a package and by its path, checked, and kept in its process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from metrics.made import run, turn
from openomni import metric
from openomni.cli import main
from openomni.errors import OpenOmniError, WrongUsage
from openomni.metrics import registry
from openomni.metrics.scorer import Scorer

HEAD = "from openomni import metric\nfrom openomni.metrics import Measured, not_applicable\n"


def written(folder: Path, body: str, name: str = "my_metrics.py") -> str:
    file = folder / name
    file.write_text(HEAD + body)
    return str(file)


def one(body: str, said: str = "") -> str:
    """A file with one metric."""
    return f'@metric("mine", version="1"{said})\ndef mine(run):\n    """What it is."""\n    {body}\n'


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"name": "Reply Length"}, "is no name of a metric"),
        ({"version": "new one"}, "is no version"),
        ({"takes": "cells"}, "takes='cells'; did you mean 'cell'?"),
        ({"better": "more"}, "better='more'"),
        ({"statistic": "median"}, "statistic='median'"),
        ({"unit": "words per minute and more"}, "a unit has at most 20"),
    ],
)
def test_what_is_said_wrongly_is_refused_where_it_is_said(said: dict[str, Any], line: str) -> None:
    given = {"name": "mine", "version": "1", **said}
    with pytest.raises(WrongUsage) as refused:
        metric(given.pop("name"), **given)
    assert line in str(refused.value)


def test_what_takes_no_run_is_refused() -> None:
    with pytest.raises(WrongUsage, match="take one thing, the turn"):
        metric("mine", version="1", takes="turn")(lambda: 1)
    with pytest.raises(WrongUsage, match="no method measure"):
        metric("mine", version="1")(type("Mine", (), {}))


def test_a_file_is_named_alone_or_with_which_of_several(tmp_path: Path) -> None:
    second = one("return 2").replace("mine", "other")
    assert registry.build(written(tmp_path, one("return 1"))).measure(run()).value == 1
    several = written(tmp_path, one("return 1") + second, "several.py")
    assert registry.build(f"{several}:other").measure(run()).value == 2
    with pytest.raises(WrongUsage, match=r"has 2 metrics; write .*several\.py:NAME with one of mine, other"):
        registry.build(several)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("x = 1\n", "has no metric; put @metric on a function"),
        ("import nothing_like_it\n", "needs the Python module 'nothing_like_it'"),
        ("raise SystemExit(3)\n", "can't be loaded: SystemExit: 3"),
        ("def (:\n", "can't be loaded: SyntaxError"),
    ],
)
def test_a_file_that_does_not_load_is_one_line(tmp_path: Path, body: str, line: str) -> None:
    with pytest.raises(OpenOmniError) as refused:
        registry.build(written(tmp_path, body))
    assert line in str(refused.value)


def test_parameters_and_pins_are_part_of_the_version(tmp_path: Path) -> None:
    body = '''@metric("mine", version="1")
class Mine:
    """What it is."""

    def __init__(self, weight: float = 1.0):
        self.weight = weight

    def measure(self, run):
        return self.weight
'''
    file = written(tmp_path, body)
    plain, heavy = registry.build(file), registry.build(file, {"weight": 2.5})
    assert (plain.version, plain.parameters) == ("1", {})
    assert heavy.version.startswith("1+")
    assert heavy.parameters == {"parameters": {"weight": 2.5}}
    assert heavy.measure(run()).value == 2.5
    with pytest.raises(WrongUsage, match="unknown parameter 'wait'; did you mean 'weight'"):
        registry.build(file, {"wait": 1})


def test_a_package_offers_its_metrics_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, one("return 1").replace("mine", "packaged"), "packaged_metrics.py")
    (tmp_path / "broken_metrics.py").write_text("raise RuntimeError('not today')\n")
    info = tmp_path / "packaged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: packaged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[openomni.metrics]\na = packaged_metrics\nb = broken_metrics\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._index.cache_clear()
    try:
        assert registry.registered()["packaged"].name == "packaged"
        assert any("broken_metrics" in problem and "not today" in problem for problem in registry.problems())
        assert "wer" in registry.registered()
    finally:
        registry._index.cache_clear()
        registry.declared.pop("packaged", None)
        sys.modules.pop("packaged_metrics", None)


@pytest.fixture
def scorer() -> Any:
    with Scorer(call_s=2.0) as scorer:
        yield scorer


def test_one_that_hangs_raises_or_ends_its_process_has_failed_and_the_next_goes_on(
    tmp_path: Path, scorer: Scorer
) -> None:
    bodies = {
        "hangs": "import time; time.sleep(3600)",
        "raises": "raise ValueError('no\\nway')",
        "nan": "return float('nan')",
        "ends": "import os; os._exit(3)",
        "prints": "print('x' * 100_000); return 1",
    }
    files = {name: written(tmp_path, one(body), f"{name}.py") for name, body in bodies.items()}
    came = {name: scorer.measure(file, run(turn())) for name, file in files.items()}
    assert came["hangs"].reason == "took more than 2 s; it was ended"
    assert came["raises"].reason == "raised ValueError: no way"
    assert "no finite number" in came["nan"].reason
    assert came["ends"].reason.startswith("ended its process (exit code 3)")
    assert all(came[name].fault and came[name].outcome == "failed" for name in ("hangs", "raises", "nan", "ends"))
    assert came["prints"].value == 1


def test_no_secret_of_the_server_is_in_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENOMNI_SERVER_SECRET", "hush")
    monkeypatch.setenv("DATABASE_URL", "postgres://hush")
    file = written(tmp_path, one("import os; return sum('hush' in each for each in os.environ.values())"))
    with Scorer() as scorer:
        assert scorer.measure(file, run(turn())).value == 0


def check(*words: str) -> int:
    try:
        main.run(["metrics", *words])
    except SystemExit as ending:
        return int(ending.code or 0)
    return 0


def test_check_tries_it_on_made_up_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    file = written(tmp_path, one("return len(run.reply_text.split())", ', unit="words", better="lower"'))
    assert check("check", file, "--json", str(out)) == 0
    assert "ok     an utterance that is answered: 3" in capsys.readouterr().out
    said = json.loads(out.read_text())
    assert (said["metric"]["name"], said["metric"]["unit"]) == ("mine", "words")
    assert not any(each["fault"] for each in said["checks"])


def test_check_tells_what_differs_from_call_to_call_and_what_raises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, one("import random; return random.random() if run.turns[0] else 0"))
    with pytest.raises(OpenOmniError, match="mine fails"):
        check("check", file)
    said = capsys.readouterr().out
    assert "fault  an utterance that is answered: gave something else when it was asked the same again" in said
    assert "fault  a run without a turn: raised IndexError" in said


def test_list_says_what_each_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert check("list", "--json", str(out)) == 0
    listed = {each["name"]: each for each in json.loads(out.read_text())["metrics"]}
    assert listed.keys() >= {
        "voice_to_voice_s", "turn_s", "wer", "cer", "reply_wer", "dnsmos_overall", "rtf", "unanswered_rate",
        "early_rate", "cut_rate", "yield_s", "cost", "stt.model_s", "llm.ttfb_s",
    }  # fmt: skip
    assert (listed["wer"]["better"], listed["wer"]["kind"], listed["self_consistency"]["takes"]) == (
        "lower", "accuracy", "repeats",
    )  # fmt: skip
    assert any(line.startswith("turn_s ") and " s " in line for line in capsys.readouterr().out.splitlines())
