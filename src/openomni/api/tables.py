"""The database's tables: made all at once where there are none, else brought up to date by the migrations.

Who starts with an empty database would wait for the migrations' whole history to be gone through, which takes longer
than all else of a first start. What they come to is what the models say; a test holds one against the other.
"""

from __future__ import annotations

from typing import Any


def up_to_date() -> None:
    """Quick when they are. Needs Django to be set up."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    if connection.introspection.table_names():
        call_command("migrate", interactive=False, verbosity=0)
    else:
        _make_all(connection, list(executor.loader.graph.nodes))


def _make_all(connection: Any, migrations: list[tuple[str, str]]) -> None:
    """Whole or not at all: tables and what says that no migration is left stand in one transaction."""
    from django.apps import apps
    from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
    from django.db.migrations.recorder import MigrationRecorder

    emit_pre_migrate_signal(0, False, connection.alias)
    record: Any = MigrationRecorder(connection).Migration
    models: list[Any] = [record, *(each for each in apps.get_models() if each._meta.can_migrate(connection))]
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)
        rows = [record(app=app, name=name) for app, name in sorted(migrations)]
        record.objects.using(connection.alias).bulk_create(rows)
    emit_post_migrate_signal(0, False, connection.alias)
