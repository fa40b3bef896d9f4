from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("openomni", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("openomni")
"""No property is held to a time: the machine may be busy with something else."""
LONGEST = ("e2e", "test_postgres.py", "pages")
"""What takes longest, in this order."""

WAITING = ("test_killing.py", "test_files.py", "test_outages.py")
"""Of those that start everything: they wait most of their time, and disturb nobody."""


def pytest_configure(config: pytest.Config) -> None:
    """What a shell starts in the background ignores Ctrl-C, and hands that on to the processes that tests interrupt.
    And the order is ours: with `-n`, what has few tests would come last, however long they take. And what pytest makes
    of the tests is kept in `__pycache__`: else each worker would spend as long on that as on all they import."""
    sys.dont_write_bytecode = False
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`, a file's tests stay together; those that start everything run one after the other, and so do those
    that share one server and one browser."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(nodeid.partition("::")[0])
            if file.startswith("tests/e2e/") and Path(file).name not in WAITING:
                return "e2e"
            return "pages" if file.startswith("tests/pages/") else file

    return ByFile(config, log)


UNTIL = float(os.environ.get("OPENOMNI_TESTS_UNTIL", "inf"))
"""Unix time from which on no further test begins: `.ci/run` has to end."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.time() > UNTIL:
        pytest.skip("no time was left for it in this run; another begins elsewhere")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that the others fill up the other processor. Where time may run out, each run begins with
    other files, so that each has its turn."""
    if math.isfinite(UNTIL):
        first = int(os.environ.get("OPENOMNI_TESTS_FIRST", "0"), 16) % max(len(items), 1)
        items[:] = items[first:] + items[:first]

    def place(item: pytest.Item) -> int:
        parts = item.path.parts
        return next((place for place, name in enumerate(LONGEST) if name in parts), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Tables come from the models at once, as in an empty database of a server: tests/api/test_tables.py holds them
    against the migrations, whose history each worker would go through for seconds."""
    from django.db import connections

    connections["default"].settings_dict["TEST"]["MIGRATE"] = False


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings that lie beside the checkout where the project is developed."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real recordings (../shared/data) are not beside this checkout")
    return path


@pytest.fixture(scope="session")
def shots() -> Callable[..., None]:
    """`shots(page, name, reload=False)` asserts that the page fits, wide and on a phone. It takes pictures, light and
    dark, where `$OPENOMNI_SHOTS` names a folder for them."""
    given = os.environ.get("OPENOMNI_SHOTS")
    folder = Path(given) if given else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)

    def taken(page: Any, name: str, **options: Any) -> None:
        from pages.support import take_pictures  # which needs what not everybody has

        take_pictures(page, name, folder, **options)

    return taken
