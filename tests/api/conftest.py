"""What the tests of the API share: projects, and callers with a token or the server's secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from api.filled import filled  # noqa: F401 (a fixture)
from api.support import Api, LiveServer, api_for, start_server, stop_server
from openomni.api.accounts.models import Project, Scope
from openomni.api.ground import bus_access
from openomni.bus.credentials import Authority
from prepared import DATABASE, with_tables

SERVER_SECRET = "the-secret-of-the-server"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    tmp_path_factory: pytest.TempPathFactory, django_db_modify_db_settings_parallel_suffix: None
) -> None:
    """SQLite in a file, as in life: one in memory locks whole tables as soon as a second thread reads."""
    if _on_sqlite():
        folder = with_tables(tmp_path_factory.mktemp("database"))
        settings.DATABASES["default"]["TEST"]["NAME"] = str(folder / DATABASE)


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """What is there is taken: the tables are made already."""
    return _on_sqlite()


def _on_sqlite() -> bool:
    return bool(settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"))


@pytest.fixture(autouse=True)
def server_settings(settings: Any, tmp_path: Path) -> Any:
    """A server with a bus address, secrets of its own and a fresh folder for media."""
    settings.SERVER_SECRET = SERVER_SECRET
    settings.BUS_URL = "nats://127.0.0.1:4222"
    settings.BUS_SEEDS = Authority.create().seeds
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick, for tests only
    bus_access.authority.cache_clear()
    yield settings
    bus_access.authority.cache_clear()


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(slug="home", name="Home")


@pytest.fixture
def other_project(db: None) -> Project:
    return Project.objects.create(slug="ward", name="Ward")


@pytest.fixture
def admin(project: Project) -> Api:
    return api_for(project, Scope.ADMIN)


@pytest.fixture
def stranger(other_project: Project) -> Api:
    """May everything, in another project."""
    return api_for(other_project, Scope.ADMIN)


@pytest.fixture
def gateway(db: None) -> Api:
    """The server's own part, with the server's secret."""
    return Api(SERVER_SECRET)


@pytest.fixture(scope="package")
def live_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server on its first start, without a bus, shared by the tests that only read."""
    server = start_server(tmp_path_factory.mktemp("live") / "data")
    yield server
    stop_server(server)
