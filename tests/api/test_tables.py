"""An empty database gets its tables at once: the very ones that the migrations come to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from openomni.api import tables

OF_DJANGO = {"auth_group_permissions.id"}
"""A table of Django's own, which we have no use for: its migrations give wider ids on PostgreSQL than its models do."""
MADE, MIGRATED = "made_at_once", "migrated"


@pytest.fixture
def empty(django_db_setup: None, django_db_blocker: Any, tmp_path: Path) -> Iterator[None]:
    """Two databases without tables, of the kind that this process runs on."""
    default = connections["default"]
    with django_db_blocker.unblock():
        for alias in (MADE, MIGRATED):
            name = str(tmp_path / alias) if default.vendor == "sqlite" else f"openomni_{alias}"
            with default.cursor() as cursor:
                if default.vendor != "sqlite":
                    cursor.execute(f"DROP DATABASE IF EXISTS {name}")
                    cursor.execute(f"CREATE DATABASE {name}")
            connections.databases[alias] = {**default.settings_dict, "NAME": name, "TEST": {}}
        try:
            yield
        finally:
            for alias in (MADE, MIGRATED):
                connections[alias].close()
                del connections[alias]
                name = connections.databases.pop(alias)["NAME"]
                if default.vendor != "sqlite":
                    with default.cursor() as cursor:
                        cursor.execute(f"DROP DATABASE {name}")


def parts(text: str) -> list[str]:
    """What stands between the outermost commas of `CREATE TABLE … (…)`, in no order."""
    inner, found, depth = text[text.index("(") + 1 : text.rindex(")")], [""], 0
    for each in inner:
        depth += {"(": 1, ")": -1}.get(each, 0)
        if each == "," and depth == 0:
            found.append("")
        else:
            found[-1] += each
    return sorted(" ".join(each.split()) for each in found)


def schema(alias: str) -> dict[str, Any]:
    """Every table with its columns, indexes and constraints, as the database has them."""
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "sqlite":
            cursor.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            rows = cursor.fetchall()
            return {f"{kind} {name}": parts(sql) if kind == "table" else sql for kind, name, sql in rows}
        cursor.execute(
            "SELECT table_name || '.' || column_name, data_type, is_nullable, column_default, character_maximum_length,"
            " is_identity FROM information_schema.columns WHERE table_schema = 'public'"
        )
        found: dict[str, Any] = {name: about for name, *about in cursor.fetchall()}
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
        found |= dict(cursor.fetchall())
        cursor.execute(
            "SELECT 'constraint ' || conname, pg_get_constraintdef(c.oid) FROM pg_constraint c"
            " JOIN pg_namespace n ON n.oid = connamespace WHERE n.nspname = 'public'"
        )
        return found | dict(cursor.fetchall())


@contextmanager
def default_is(alias: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr("django.db.connection", connections[alias])
        yield


def test_what_is_made_at_once_is_what_the_migrations_make(empty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("migrate", database=MIGRATED, interactive=False, verbosity=0)
    with default_is(MADE, monkeypatch):
        tables.up_to_date()
        tables.up_to_date()
    made, migrated = schema(MADE), schema(MIGRATED)
    assert made.keys() == migrated.keys()
    differ = {name: (made[name], migrated[name]) for name in made if made[name] != migrated[name]}
    assert differ.keys() <= OF_DJANGO, differ
    executor = MigrationExecutor(connections[MADE])
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
    for model, fields in ((ContentType, ("app_label", "model")), (Permission, ("codename", "name"))):
        rows = [set(model.objects.using(alias).values_list(*fields)) for alias in (MADE, MIGRATED)]
        assert rows[0] == rows[1] != set()


def test_where_it_broke_off_nothing_is_there_and_it_begins_anew(empty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise DatabaseError("the disk is full")

    with default_is(MADE, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr("django.db.models.query.QuerySet.bulk_create", breaks)
            with pytest.raises(DatabaseError):
                tables.up_to_date()
        assert connections[MADE].introspection.table_names() == []
        tables.up_to_date()
    assert "records_turn" in connections[MADE].introspection.table_names()
