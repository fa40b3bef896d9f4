"""A download over a line that breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.conftest import FileServer
from openomni.models.catalogue import ModelError
from openomni.models.download import RemoteFile, download

CONTENT = bytes(range(256)) * 8192


def fetch(server: FileServer, target: Path) -> list[tuple[int, int]]:
    steps: list[tuple[int, int]] = []
    download(RemoteFile(f"{server.url}/file"), target, lambda done, total: steps.append((done, total)), pause=0.0)
    return steps


@pytest.fixture
def target(tmp_path: Path, server: FileServer) -> Path:
    server.files["/file"] = CONTENT
    return tmp_path / "file"


def test_reports_progress_up_to_the_whole(server: FileServer, target: Path) -> None:
    steps = fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert steps[0] == (0, len(CONTENT))
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert steps == sorted(steps)


def test_goes_on_where_the_line_broke(server: FileServer, target: Path) -> None:
    server.breaks = [700_000, 300_000]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.fetched("/file") == [None, "bytes=700000-", "bytes=1000000-"]


def test_starts_again_where_the_server_knows_no_ranges(server: FileServer, target: Path) -> None:
    server.ranges = False
    server.breaks = [700_000]
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_line_that_stays_broken_keeps_what_came_for_the_next_call(server: FileServer, target: Path) -> None:
    server.breaks = [700_000, 0, 0, 0, 0]
    with pytest.raises(ModelError, match="what has come is kept"):
        fetch(server, target)
    assert target.read_bytes() == CONTENT[:700_000]
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.fetched("/file")[-1] == "bytes=700000-"


def test_a_file_that_is_here_already_is_not_sent_again(server: FileServer, target: Path) -> None:
    target.write_bytes(CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.fetched("/file") == [f"bytes={len(CONTENT)}-"]


def test_a_leftover_longer_than_the_file_is_thrown_away(server: FileServer, target: Path) -> None:
    target.write_bytes(CONTENT + b"of another file")
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_missing_file_is_one_line_and_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="404") as caught:
        download(RemoteFile(f"{server.url}/nothing"), tmp_path / "nothing", lambda done, total: None)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9"):
        download(RemoteFile("http://127.0.0.1:9/file"), tmp_path / "file", lambda done, total: None, pause=0.0)


def test_a_file_address_is_copied(tmp_path: Path) -> None:
    origin = tmp_path / "an origin"
    origin.write_bytes(CONTENT)
    download(RemoteFile(origin.as_uri()), tmp_path / "copy", lambda done, total: None)
    assert (tmp_path / "copy").read_bytes() == CONTENT
