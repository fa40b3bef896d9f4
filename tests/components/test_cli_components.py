"""`openomni components`: list, show, check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openomni.cli import main
from openomni.errors import OpenOmniError, WrongUsage


def run(*words: str) -> int:
    """Exit status as the shell sees it, with errors left to the test."""
    try:
        main.run(["components", *words])
    except SystemExit as ending:
        return int(ending.code or 0)
    return 0


def test_list_shows_every_component_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"
    assert run("list", "--kind", "tts", "--json", str(file)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("tts:openai") and "A voice over HTTP" in line for line in lines)
    components = {each["name"]: each for each in json.loads(file.read_text())["components"]}
    assert components["openai"]["slots"] == 8
    assert components["openai"]["package"] == "openomni"
    assert components["openai"]["schema"]["properties"]["rate"]["default"] == 24_000


def test_show_tells_each_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "stt:openai") == 0
    said = capsys.readouterr().out
    assert "  language (string or null, default None)  ISO 639-1 code such as `en`" in said


def test_check_prints_a_line_a_promise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"
    assert run("check", "llm:simulated", "--param", "text=Yes, of course.", "--json", str(file)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok     says what it is"
    assert lines[-1] == f"llm:simulated keeps all {len(lines) - 1} promises"
    assert not any(each["fault"] for each in json.loads(file.read_text())["checks"])


def test_check_takes_an_import_path_with_or_without_its_kind(capsys: pytest.CaptureFixture[str]) -> None:
    path = "openomni.components.simulated:SimulatedRetrieval"
    assert run("check", path) == 0
    assert run("check", f"retrieval:{path}", "--param", "delay_s=0", "--param", "passages=[a, b]") == 0
    assert f"retrieval:{path} keeps all" in capsys.readouterr().out


def test_check_fails_with_the_faults_above(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OpenOmniError, match="tts:simulated breaks 1 of the 4 promises above") as caught:
        run("check", "tts:simulated", "--param", "fail=raise")
    assert caught.value.exit_code == 1
    assert "fault  answers: raised RuntimeError: simulated failure" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "tts"], "'tts' is no component; write KIND:NAME"),
        (["check", "tts:pipre"], "unknown tts component 'pipre'; did you mean 'piper'?"),
        (["check", "tts:simulated", "--param", "secs=1"], "unknown parameter 'secs'; did you mean 'seconds'?"),
        (
            ["check", "tts:simulated", "--param", "seconds"],
            "--param 'seconds' is no parameter; write --param key=value",
        ),
        (["check", "tts:simulated", "--param", "seconds=long"], "'seconds' must be a number, not 'long'"),
        (["show", "sst:openai"], "unknown kind 'sst'; did you mean 'stt'?"),
        (["list", "--kind", "sst"], "unknown kind 'sst'; did you mean 'stt'?"),
    ],
)
def test_wrong_usage_is_one_line_with_the_mend(words: list[str], said: str) -> None:
    with pytest.raises(WrongUsage) as caught:
        run(*words)
    assert said in str(caught.value)
