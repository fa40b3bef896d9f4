"""Who calls and what there is: an HTTP client with a token, people, agents, and the server as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import httpx
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import Client
from django.urls import Resolver404, resolve
from django.utils import timezone

from openomni.api.accounts.models import Membership, Project, Scope, Token, User
from openomni.api.fleet.models import Agent, Offer, new_id
from openomni.api.ground.document import Interface
from openomni.api.media.derive import child
from openomni.bus.credentials import Keys
from prepared import with_tables


@dataclass
class Api:
    """Speaks REST with one token. Answers are checked for the status that is expected."""

    token: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, body: Any = None, expect: int = 200, **headers: str) -> Any:
        response = self.raw(method, path, body, **headers)
        assert response.status_code == expect, f"{method} {path}: {response.status_code} {response.content[:500]!r}"
        return json.loads(response.content) if response.content else None

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        data, kind = (body, "application/octet-stream") if isinstance(body, bytes) else ("", "application/json")
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body)
        answer = Client().generic(method, f"/api/v1{path}", data, content_type=kind, headers=sent)
        assert_documented(method, path, answer.status_code)
        return answer

    def error(self, method: str, path: str, body: Any = None, *, status: int, **headers: str) -> str:
        """The one line that the caller is told."""
        line = self(method, path, body, status, **headers)["error"]
        assert "\n" not in line
        return str(line)


def assert_documented(method: str, path: str, status: int) -> None:
    """The OpenAPI document names every answer that a test has seen."""
    from openomni.api.urls import api

    try:
        route = resolve(f"/api/v1{urlsplit(unquote(path)).path}").route
    except Resolver404:
        return
    known = documented(api).get(re.sub(r"<(\w+:)?(\w+)>", r"{\2}", f"/{route}"), {}).get(method.lower())
    assert known is None or status in known, f"{method} {path}: {status} is not in the document, {sorted(known)} are"


@cache
def documented(api: Interface) -> dict[str, dict[str, set[int]]]:
    """Path → method → statuses."""
    paths = api.get_openapi_schema()["paths"]
    return {
        path: {method: set(map(int, operation["responses"])) for method, operation in item.items()}
        for path, item in paths.items()
    }


def body_of(answer: HttpResponse) -> bytes:
    """The content of an answer, also of one that is streamed as the server does it."""
    if not answer.streaming:
        return bytes(answer.content)

    async def read() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])  # type: ignore[attr-defined]

    return async_to_sync(read)()


def api_for(project: Project, *scopes: str, **fields: Any) -> Api:
    return Api(Token.issue(project, scopes or [Scope.ADMIN], **fields)[1])


def person(name: str, role: str | None = None, project: Project | None = None, **fields: Any) -> User:
    """Somebody who can sign in, with a role in a project."""
    user = User.objects.create_user(name, password="correct horse battery", is_staff=True, **fields)
    if role and project:
        Membership.objects.create(user=user, project=project, role=role)
    return user


def registration(name: str = "box-1", **fields: Any) -> dict[str, Any]:
    """What an agent sends when it registers."""
    return {
        "name": name,
        "public_key": Keys.create().public,
        "machine": {"cpus": 2},
        "accelerators": [],
        "components": [
            {"kind": "llm", "name": "simulated", "version": "1", "package": "openomni", "schema": {"type": "object"}}
        ],
        "roles": ["host"],
        "slots": 2,
        "version": "0.2.0",
        **fields,
    }


def agent_with(project: Project, *components: str, **fields: Any) -> Agent:
    """An agent's row that offers `kind:name` components, alive unless `last_seen` says otherwise."""
    agent = Agent.objects.create(
        **{"id": new_id(), "project": project, "name": new_id()[:8], "last_seen": timezone.now(), **fields}
    )
    for component in components:
        kind, _, name = component.partition(":")
        Offer.objects.create(project=project, agent=agent, kind=kind, name=name, schema={"type": "object"})
    return agent


class InProcess:
    """Derives as the child of a server does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.done = threading.Event()
        """That a lot is done."""

    def ask(self, kind: str, source: Path, **more: Any) -> dict[str, Any]:
        self.asked.append(kind)
        return child.answered({"kind": kind, "source": str(source), **more})

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.done.set()


@dataclass
class LiveServer:
    """`openomni api` as a process of its own."""

    url: str
    token: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    output: Path

    def client(self, token: str | None = None) -> httpx.Client:
        bearer = self.token if token is None else token
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=10, trust_env=False)


def start_server(data_dir: Path, **environment: str) -> LiveServer:
    """Starts the server and returns once it answers; the caller stops it with `stop_server`."""
    ready, output = data_dir.parent / f"{data_dir.name}-ready.json", data_dir.parent / f"{data_dir.name}.log"
    ready.unlink(missing_ok=True)
    # SQLite of its own: the database that the tests run on is inside their transaction.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENOMNI_", "DATABASE_URL"))}
    if "DATABASE_URL" not in environment:
        with_tables(data_dir)
    command = [sys.executable, "-m", "openomni.cli.main", "api", "--data-dir", str(data_dir), "--port", "0"]
    with output.open("ab") as log:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)], env={**kept, **environment}, stdout=log, stderr=log
        )
    while not ready.exists():
        assert process.poll() is None, output.read_text()
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    said = json.loads(ready.read_text())
    return LiveServer(said["url"], said.get("token", ""), data_dir, process, output)


def stop_server(server: LiveServer) -> int:
    """Its exit code after SIGTERM."""
    server.process.send_signal(signal.SIGTERM)
    return server.process.wait(15)
