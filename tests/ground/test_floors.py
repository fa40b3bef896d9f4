"""The import contracts hold: for each, an import that breaks it is refused, one for the type checker alone too."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The sources as they are, to break."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def linted(tree: Path) -> subprocess.CompletedProcess[str]:
    lint = "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command as lint; lint()"
    return subprocess.run([sys.executable, "-c", lint, "--no-cache"], cwd=tree, capture_output=True, text=True)


def write_import(tree: Path, importer: str, imported: str) -> None:
    """An import that runs never: for the type checker."""
    place = tree / "src" / Path(*importer.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    file.write_text(f"{file.read_text()}\nif TYPE_CHECKING:\n    import {imported}\n")


def floors(contract: dict[str, list[str]]) -> list[list[str]]:
    """The rooms of each floor, from the top, by their full names."""
    (container,) = contract.get("containers", [""])
    return [
        [f"{container}.{room}".lstrip(".") for room in floor.replace(" ", "").split("|")]
        for floor in contract["layers"]
    ]


LAYERS = [contract for contract in CONTRACTS if contract["type"] == "layers"]


@pytest.mark.parametrize("contract", LAYERS, ids=lambda contract: contract["name"])
def test_each_room_is_refused_the_floor_above_it_and_its_neighbours(tree: Path, contract: dict[str, list[str]]) -> None:
    up = [(low[0], above[0]) for above, low in pairwise(floors(contract))]
    aside = [(room, neighbour) for floor in floors(contract) for room, neighbour in pairwise(floor)]
    for importer, imported in (*up, *aside):
        write_import(tree, importer, imported)

    done = linted(tree)

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract['name']} BROKEN" in done.stdout
    for importer, imported in (*up, *aside):
        assert f"{importer} is not allowed to import {imported}:" in done.stdout


def test_a_circle_a_library_and_a_door_are_refused(tree: Path) -> None:
    write_import(tree, "openomni.gateway.hello", "openomni.gateway.connection")
    write_import(tree, "openomni.gateway.proxy", "django")
    write_import(tree, "openomni.client.wire", "pydantic")
    write_import(tree, "openomni.evaluation.repeats", "openomni.records")
    write_import(tree, "openomni.api.conversations.apps", "openomni.api.media.rest")

    done = linted(tree)

    assert done.returncode == 1
    broken = {line.rpartition(" BROKEN")[0] for line in done.stdout.splitlines() if line.endswith("BROKEN")}
    assert broken == {contract["name"] for contract in CONTRACTS if contract not in LAYERS}


def test_as_it_is_everything_is_kept(tree: Path) -> None:
    done = linted(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout
