"""The server as a process of its own: how it starts, what it keeps, what it serves to whom, how it stops."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from api.support import LiveServer, start_server, stop_server


def openomni(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openomni.cli.main", "api", "--data-dir", str(data_dir), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_says_where_it_serves_and_lets_its_first_token_in(live_api: LiveServer) -> None:
    with live_api.client() as client:
        assert client.get("/api/v1/me").json()["scopes"] == [
            "admin", "agent", "annotator", "device", "researcher", "viewer"
        ]  # fmt: skip
        # A part of an upload that is larger than a form may be, and a long list of them at once.
        assert client.get("/api/v1/sites").json() == {"items": [], "next": None}


def test_strangers_get_pages_to_sign_in_and_no_data(live_api: LiveServer) -> None:
    with live_api.client(token="") as client:
        assert client.get("/api/v1/sessions").status_code == 401
        assert client.get("/").headers["Location"] == "/admin/login/?next=/"
        assert "/admin/login/" in client.get("/admin/").headers["Location"]
        page = client.get("/admin/login/")
        assert page.status_code == 200
        # Everything that the page loads comes from here: it works offline.
        loaded = re.findall(r'(?:src|href)="([^"#]+\.(?:css|js)[^"]*)"', page.text)
        assert loaded
        for address in loaded:
            assert address.startswith("/static/"), address
            assert client.get(address).status_code == 200, address


def test_the_page_to_try_the_rest_interface_works_offline(live_api: LiveServer) -> None:
    with live_api.client(token="") as client:
        page = client.get("/api/v1/docs").text
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert loaded
        for address in loaded:
            assert client.get(address).status_code == 200, address
        assert "/api/v1/sites" in client.get("/api/v1/openapi.json").json()["paths"]


def test_static_files_do_not_lead_out_of_their_folders(live_api: LiveServer) -> None:
    with live_api.client(token="") as client:
        for path in ("/static/../settings.py", "/static/%2e%2e/%2e%2e/__init__.py", "/static/none.css"):
            assert client.get(path).status_code == 404


def test_only_a_trusted_proxy_is_believed_about_the_host(live_api: LiveServer) -> None:
    forwarded = {"X-Forwarded-Host": "lab.example", "X-Forwarded-Proto": "https"}
    with live_api.client(token="") as client:
        origin = {"Origin": "https://lab.example", "Referer": "https://lab.example/"}
        page = client.get("/admin/login/", headers=forwarded)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        form = {"username": "owner", "password": "wrong", "csrfmiddlewaretoken": token[1]}
        assert client.post("/admin/login/", data=form, headers={**forwarded, **origin}).status_code == 200
        assert client.post("/admin/login/", data=form, headers=origin).status_code == 403


def test_its_secrets_are_for_its_owner_only_and_never_shown(live_api: LiveServer) -> None:
    path = live_api.data_dir / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = json.loads(path.read_text())
    assert kept["bus"]["operator"].startswith("SO")
    log = live_api.output.read_text()
    assert kept["server"] not in log
    assert kept["django"] not in log


@pytest.mark.long
def test_a_second_start_keeps_everything_and_shows_no_token(tmp_path: Path) -> None:
    first = start_server(tmp_path / "data")
    assert first.token
    path = re.search(r"/sign-in/\S+", first.output.read_text())
    assert path
    assert stop_server(first) == 0
    second = start_server(tmp_path / "data")
    try:
        assert not second.token
        with second.client(first.token) as client:
            assert client.get("/api/v1/me").status_code == 200
        with second.client(token="") as browser:
            assert browser.get(path[0]).headers["Location"] == "/password/"
            assert browser.get("/password/").status_code == 200
    finally:
        assert stop_server(second) == 0


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        done = openomni(tmp_path, "--port", port)
    assert done.returncode == 1
    assert done.stderr.strip() == f"openomni: port {port} on 127.0.0.1 is taken; choose another with --port"


def test_a_database_that_is_away_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DATABASE_URL", f"postgres://nobody@127.0.0.1:{holder.getsockname()[1]}/none")
        done = openomni(tmp_path, "--port", "0")
    assert done.returncode == 1
    assert "check DATABASE_URL" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
