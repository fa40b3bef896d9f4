"""What each server that tests start would make anew, made once: its tables."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

DATABASE = "openomni.sqlite3"


def with_tables(data_dir: Path) -> Path:
    """The server's data directory, with empty tables where there are none yet: they take seconds to make."""
    if not (data_dir / DATABASE).exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / DATABASE).write_bytes(_tables())
    return data_dir


@cache
def _tables() -> bytes:
    """Made by whichever of this run's processes asks first, and kept for the others as long as that one lives."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    kept = Path(tempfile.gettempdir()) / f"openomni-tables-{run}"
    lock = kept.with_suffix(".lock")
    with lock.open("w") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(_made())
            for file in (kept, lock):
                atexit.register(file.unlink, missing_ok=True)
        return kept.read_bytes()


def _made() -> bytes:
    folder = Path(tempfile.mkdtemp(prefix="openomni-tables-"))
    try:
        command = [sys.executable, "-m", "openomni.cli.main", "api", "--data-dir", str(folder), "migrate"]
        subprocess.run(command, check=True, capture_output=True)
        return (folder / DATABASE).read_bytes()
    finally:
        shutil.rmtree(folder)
