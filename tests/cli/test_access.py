"""A token that is not on the command line."""

from __future__ import annotations

import os
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer.main

from openomni import token_file
from openomni.cli.access import TAKE_ONE, read_token_file
from openomni.cli.main import COMMANDS
from openomni.errors import WrongUsage


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("OPENOMNI_TOKEN", "OPENOMNI_SERVER"):  # what is read into them is gone afterwards
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("OPENOMNI_SERVER")
    monkeypatch.setenv("OPENOMNI_TOKEN_FILE", str(tmp_path / "token"))
    return tmp_path / "token"


def test_a_file_holds_the_token(environment: Path) -> None:
    environment.write_text("oo_1_secret\n")
    read_token_file("turns")
    assert os.environ["OPENOMNI_TOKEN"] == "oo_1_secret"


def test_the_variable_goes_first(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENOMNI_TOKEN", "oo_mine")
    read_token_file("turns")
    assert os.environ["OPENOMNI_TOKEN"] == "oo_mine"


def test_a_ready_file_says_where_it_is_for_too(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENOMNI_SERVER", "")
    monkeypatch.delenv("OPENOMNI_SERVER")
    environment.write_text('{"url": "http://127.0.0.1:8411", "token": "oo_1_secret"}')
    read_token_file("turns")
    assert (os.environ["OPENOMNI_SERVER"], os.environ["OPENOMNI_TOKEN"]) == ("http://127.0.0.1:8411", "oo_1_secret")
    monkeypatch.setenv("OPENOMNI_TOKEN", "")
    monkeypatch.setenv("OPENOMNI_SERVER", "http://elsewhere")
    read_token_file("turns")
    assert os.environ["OPENOMNI_SERVER"] == "http://elsewhere", "what was said goes first"


@pytest.mark.parametrize(
    "content", [None, b"", b"two words", b"\xff\xfe", b"{", b'{"url": "x"}', b'{"url": 1, "token": "a"}']
)
def test_a_file_without_one_is_one_line(environment: Path, content: bytes | None) -> None:
    if content is not None:
        environment.write_bytes(content)
    with pytest.raises(WrongUsage, match=f"OPENOMNI_TOKEN_FILE: {environment} (can't be read|holds no token)"):
        read_token_file("turns")


def test_a_ready_file_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "up.json"
    monkeypatch.setenv("OPENOMNI_TOKEN_FILE", str(file))
    writer = threading.Timer(0.3, file.write_text, ['{"url": "http://127.0.0.1:8411", "token": "oo_1_secret"}'])
    writer.start()
    read_token_file("experiment")
    writer.join()
    assert os.environ["OPENOMNI_TOKEN"] == "oo_1_secret"
    assert capsys.readouterr().err.count("is not there yet; waiting") == 1


def test_one_that_never_comes_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_file, "AWAITED_S", 0.3)
    monkeypatch.setenv("OPENOMNI_TOKEN_FILE", str(tmp_path / "up.json"))
    with pytest.raises(WrongUsage, match="can't be read"):
        read_token_file("experiment")


@pytest.mark.parametrize(
    "line", ["up", "gateway --port 1", "components list", "metrics list", "experiment run --help", "--help", ""]
)
def test_who_needs_none_asks_for_no_file(line: str, environment: Path) -> None:
    read_token_file(*line.split(" "))
    assert not os.environ["OPENOMNI_TOKEN"]


def test_every_command_that_takes_a_token_may_have_it_from_a_file() -> None:
    apps = {name: typer.main.get_command(import_module(f"openomni.cli.{name}").app) for name in COMMANDS}
    assert {name for name, app in apps.items() if _takes_one(app)} == {each.split()[0] for each in TAKE_ONE}


def _takes_one(command: Any) -> bool:
    below = getattr(command, "commands", {}).values()
    return any(each.envvar == "OPENOMNI_TOKEN" for each in command.params) or any(map(_takes_one, below))
