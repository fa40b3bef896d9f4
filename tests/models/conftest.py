"""A server that holds files, breaks off when told to, and counts what it is asked for."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml


class FileServer:
    """Serves `files` (path → content). The line is cut after as many bytes as `breaks` says next,
    in an answer that is longer."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.breaks: list[int] = []
        self.ranges = True
        self.password = ""
        self.asked: list[tuple[str, str, str | None]] = []
        """Method, path and range of each request."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                outer._answer(self, body=False)

            def do_GET(self) -> None:
                outer._answer(self, body=True)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def fetched(self, path: str) -> list[str | None]:
        """The ranges asked of a file with GET, in order."""
        return [span for method, asked, span in self.asked if method == "GET" and asked == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, to: BaseHTTPRequestHandler, body: bool) -> None:
        path = to.path.partition("?")[0]
        self.asked.append((to.command, path, to.headers.get("Range")))
        expected = "Basic " + base64.b64encode(self.password.encode()).decode()
        if self.password and to.headers.get("Authorization") != expected:
            self._send(to, 401, b"", {"WWW-Authenticate": "Basic"}, body)
        elif path not in self.files:
            self._send(to, 404, b"", {}, body)
        else:
            self._send_file(to, path, body)

    def _send_file(self, to: BaseHTTPRequestHandler, path: str, body: bool) -> None:
        content, more = self.files[path], dict(self.headers.get(path, {}))
        span = to.headers.get("Range")
        if not span or not self.ranges:
            self._send(to, 200, content, more, body)
            return
        start = int(span.removeprefix("bytes=").partition("-")[0])
        if start >= len(content):
            self._send(to, 416, b"", {"Content-Range": f"bytes */{len(content)}"}, body)
            return
        more["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(to, 206, content[start:], more, body)

    def _send(self, to: BaseHTTPRequestHandler, status: int, content: bytes, more: dict[str, str], body: bool) -> None:
        to.send_response(status)
        to.send_header("Content-Length", str(len(content)))
        for name, value in more.items():
            to.send_header(name, value)
        to.end_headers()
        if body:
            cut = self.breaks.pop(0) if self.breaks and self.breaks[0] < len(content) else len(content)
            to.wfile.write(content[:cut])
            to.close_connection = cut < len(content)


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of models, and no catalogue of the person who runs the tests."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("OPENOMNI_MODELS", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


def pinned(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class Shelf:
    """Writes the catalogue of one test."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._models: dict[str, Any] = {}

    def add(self, name: str, files: dict[str, bytes], sources: list[dict[str, str]], **more: Any) -> None:
        entry = {"kind": "stt", "component": "faster-whisper", "licence": "MIT", "sources": sources}
        entry["files"] = {file: pinned(content) for file, content in files.items()}
        self._models[name] = entry | more
        self._path.write_text(yaml.safe_dump({"models": self._models}))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    path = tmp_path / "catalogue.yaml"
    monkeypatch.setenv("OPENOMNI_CATALOGUE", str(path))
    return Shelf(path)


class Seen:
    """What a progress bar was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        self.steps.append((what, done, total))


@pytest.fixture
def progress() -> Seen:
    return Seen()
