"""Whether a database is laid out as this release lays it out; looked at before anything is written, and without Django.

While this is an alpha its migrations are made anew where tables change: a database of an earlier one can't be brought
up to date. It is said so, and left as it is.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ..errors import OpenOmniError

_HERE = Path(__file__).parent
SQLITE = "openomni.sqlite3"
GONE = {"conversations", "media"}
"""Apps of ours that had tables in an earlier alpha."""
_APPLIED = "SELECT app, name FROM django_migrations"


def check(data_dir: Path) -> None:
    """Raises `OpenOmniError`, in one line, where the database holds tables of another alpha; one that is not there, or
    does not answer, is for whoever opens it."""
    url = os.environ.get("DATABASE_URL", "")
    applied = _of_server(url) if url else _of_file(data_dir / SQLITE)
    ours = {path.parents[1].name for path in _HERE.glob("*/migrations/__init__.py")} | GONE
    unknown = {(app, name) for app, name in applied if app in ours} - _known()
    if unknown:
        where, mend = (
            ("the database of DATABASE_URL", "name another database") if url else
            (str(data_dir), "choose another folder with --data-dir")
        )  # fmt: skip
        raise OpenOmniError(
            f"{where} is of another alpha of OpenOmni, whose tables this one can't read; it is left as it is: {mend}, "
            "or go on with the release that made it"
        )


def _known() -> set[tuple[str, str]]:
    return {(path.parents[1].name, path.stem) for path in _HERE.glob("*/migrations/[0-9]*.py")}


def _of_file(path: Path) -> set[tuple[str, str]]:
    if not path.is_file() or path.stat().st_size == 0:
        return set()
    # A database that nobody has open is read without making the files that a reader makes beside it.
    log = path.with_name(path.name + "-wal")
    mode = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as database:
            return set(database.execute(_APPLIED).fetchall())
    except sqlite3.Error:
        return set()


def _of_server(url: str) -> set[tuple[str, str]]:
    if not url.startswith(("postgres://", "postgresql://")):
        return set()
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=5) as database:
            return set(database.execute(_APPLIED).fetchall())
    except (psycopg.Error, OSError):
        return set()
