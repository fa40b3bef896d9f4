"""A database of another alpha is recognised, told in one line, and left as it is."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from openomni.api import layout, secrets
from openomni.errors import OpenOmniError

EARLIER = [
    ("accounts", "0001_initial"), ("accounts", "0003_a_persons_own_token"), ("auth", "0001_initial"),
    ("conversations", "0001_initial"), ("conversations", "0003_pauses_and_lost_attempts"), ("media", "0001_initial"),
]  # fmt: skip
"""As release 0.1.0 left it."""
OURS = [("accounts", "0001_initial"), ("records", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]


def database(folder: Path, applied: list[tuple[str, str]]) -> sqlite3.Connection:
    folder.mkdir(exist_ok=True)
    made = sqlite3.connect(folder / layout.SQLITE)
    made.execute("CREATE TABLE django_migrations (app TEXT, name TEXT)")
    made.executemany("INSERT INTO django_migrations VALUES (?, ?)", applied)
    made.commit()
    return made


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path / "data"


@pytest.mark.parametrize("command", [["up", "--port", "0"], ["api", "token", "create", "--scope", "viewer"]])
def test_commands_stop_in_one_line_and_touch_nothing(folder: Path, command: list[str]) -> None:
    database(folder, EARLIER).close()
    secrets.ensure(folder)
    before = content(folder)
    first, *rest = command
    done = subprocess.run(
        [sys.executable, "-m", "openomni.cli.main", first, "--data-dir", str(folder), *rest],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [done.stderr.strip()]
    assert str(folder) in done.stderr
    assert "another folder with --data-dir" in done.stderr
    assert content(folder) == before


def test_one_that_is_being_written_is_read_too(folder: Path) -> None:
    with closing(database(folder, OURS)) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.executemany("INSERT INTO django_migrations VALUES (?, ?)", EARLIER)
        made.commit()
        with pytest.raises(OpenOmniError, match="another alpha"):
            layout.check(folder)


def test_our_own_is_taken_and_so_is_none_and_what_is_no_database(folder: Path) -> None:
    layout.check(folder)
    database(folder, OURS).close()
    layout.check(folder)
    (folder / layout.SQLITE).write_bytes(b"no database at all")
    layout.check(folder)


@pytest.mark.django_db
def test_the_tables_that_this_release_makes_are_its_own(folder: Path) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations")
        applied = cursor.fetchall()
    database(folder, applied).close()
    layout.check(folder)
