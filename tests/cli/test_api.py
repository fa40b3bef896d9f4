"""What an operator does with a server, from beside it and from a wrong place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prepared import with_tables


def api(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENOMNI_", "DATABASE_URL"))}
    command = [sys.executable, "-m", "openomni.cli.main", "api", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**kept, **environment})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that was set up."""
    folder = with_tables(tmp_path_factory.mktemp("server") / "data")
    done = api("bootstrap", "--data-dir", str(folder), "--server", "lab.example")
    assert done.returncode == 0, done.stderr
    assert "at: http://lab.example/sign-in/" in done.stdout
    return folder


@pytest.mark.parametrize("arguments", [("token", "create", "--scope", "agent"), ("check",)])
def test_beside_another_servers_folder_nothing_is_made(arguments: tuple[str, ...], tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    done = api(*arguments, OPENOMNI_DATA_DIR=str(elsewhere))
    line = f"openomni: no server keeps its data in {elsewhere}; name its folder with --data-dir\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
    assert not elsewhere.exists()


@pytest.mark.long
def test_the_folder_may_be_named_before_or_behind_the_subcommand(server: Path, tmp_path: Path) -> None:
    create = ("token", "create", "--scope", "agent")
    for arguments in ((*create, "--data-dir", str(server)), ("--data-dir", str(server), *create)):
        done = api(*arguments, OPENOMNI_DATA_DIR=str(tmp_path / "elsewhere"))
        assert done.stdout.startswith("oo_"), done.stderr
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.long
def test_a_sign_in_link_is_a_whole_address(server: Path) -> None:
    folder = str(server)
    assert api("sign-in", "--data-dir", folder).stdout.startswith("http://127.0.0.1:8001/sign-in/")
    (server / "up.json").write_text(json.dumps({"token": "a", "agent_token": "b", "url": "https://10.0.0.1:8000"}))
    assert api("sign-in", "--data-dir", folder).stdout.startswith("https://10.0.0.1:8000/sign-in/")
    done = api("user", "create", "rina", "--data-dir", folder, OPENOMNI_SERVER="http://lab.example/bench/")
    assert done.stdout.startswith("http://lab.example/bench/sign-in/")


def test_a_server_of_all_parts_has_its_bus(server: Path) -> None:
    (server / "up.json").unlink(missing_ok=True)
    alone = api("check", "--data-dir", str(server))
    assert (alone.returncode, "no bus is configured" in alone.stdout) == (1, True)
    (server / "up.json").write_text("{}")
    done = api("check", "--data-dir", str(server))
    assert (done.returncode, done.stdout) == (0, f"sqlite, {server}: all well\n")


def test_tables_that_are_not_there_are_one_line(server: Path, tmp_path: Path) -> None:
    """A file that is a database of something else, say."""
    import sqlite3

    (tmp_path / "secrets.json").write_bytes((server / "secrets.json").read_bytes())
    with sqlite3.connect(tmp_path / "openomni.sqlite3") as other:
        other.execute("CREATE TABLE other (x)")
    done = api("sign-in", "--data-dir", str(tmp_path))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "openomni api migrate" in done.stderr
