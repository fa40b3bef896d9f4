"""Commands that ask a server, with the API in this process behind their HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar
from urllib.parse import urlencode

import pytest
from django.db import connections
from django.test import Client

from api.support import api_for
from openomni.api.accounts.models import Project, Scope
from openomni.cli.main import run
from openomni.storage.http import Http, HttpAnswer


class ApiInProcess(Http):
    """Asks the API here, on the test's own connection to the database, rather than over a wire."""

    database: ClassVar[Any]
    before: ClassVar[Callable[[str, str], None] | None] = None
    """What happens on the server before it is asked, by method and path."""

    async def call(
        self, method: str, path: str, *, query: Any = None, body: bytes | None = None, headers: Any = None,
        into: BinaryIO | None = None,
    ) -> HttpAnswer:  # fmt: skip
        connections["default"] = self.database
        if self.before is not None:
            type(self).before(method, path)  # type: ignore[misc]
        sent = {**self._headers, **(headers or {})}
        kind = sent.pop("Content-Type", "application/json")
        address = f"{path}?{urlencode(query)}" if query else path
        answer = Client().generic(method, address, body or b"", content_type=kind, headers=sent)
        held = b"".join([piece async for piece in answer]) if answer.streaming else answer.content
        if into is not None and answer.status_code < 300:
            into.write(held)
            held = b""
        return HttpAnswer(answer.status_code, {k.lower(): v for k, v in answer.items()}, held)


def behind(project: Project, monkeypatch: pytest.MonkeyPatch, before: Callable[[str, str], None] | None = None) -> None:
    """Commands ask the API here from now on, as a researcher of the project."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    ApiInProcess.database, ApiInProcess.before = connections["default"], before
    monkeypatch.setenv("OPENOMNI_TOKEN", api_for(project, Scope.RESEARCHER).token)
    monkeypatch.setattr("openomni.storage.api.Http", ApiInProcess)


def did(*arguments: str | Path) -> None:
    """A command that goes well."""
    with pytest.raises(SystemExit) as ended:
        run([str(each) for each in arguments])
    assert ended.value.code == 0


def told(tmp_path: Path, *arguments: str | Path) -> Any:
    """What it writes as JSON."""
    file = tmp_path / "told.json"
    did(*arguments, "--json", file)
    return json.loads(file.read_text())
