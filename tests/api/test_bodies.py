"""What is not wanted of a body is not read: asked of the application itself, with a body that counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from api.support import api_for, person
from openomni import bounds
from openomni.api.accounts.authentication import is_known
from openomni.api.accounts.models import Project
from openomni.api.accounts.models import Scope as TokenScope
from openomni.api.bodies import Bodies

PIECE = 64 << 10
COOKIE = "openomni_session"


class Sender:
    """A client that sends `size` bytes in pieces, and counts those that were asked for."""

    def __init__(self, size: int) -> None:
        self.size, self.read, self.status, self.said = size, 0, 0, b""

    async def receive(self) -> dict[str, Any]:
        piece = min(PIECE, self.size - self.read)
        self.read += piece
        return {"type": "http.request", "body": bytes(piece), "more_body": self.read < self.size}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.said += message.get("body", b"")


async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def knows_good(shown: Mapping[str, str]) -> bool:
    return "good" in "".join(shown.values())


def sent(size: int, path: str = "/api/v1/recordings/r", tell: bool = True, **headers: str) -> Sender:
    sender = Sender(size)
    given = {**headers, **({"content-length": str(size)} if tell else {"transfer-encoding": "chunked"})}
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in given.items()]
    scope = {"type": "http", "method": "PATCH", "path": path, "query_string": b"", "headers": pairs}
    asyncio.run(Bodies(reads_all, knows_good, COOKIE)(scope, sender.receive, sender.send))
    return sender


@pytest.mark.parametrize("tell", [True, False])
@pytest.mark.parametrize(
    "shown", [{}, {"authorization": "Bearer guessed"}, {"cookie": f"{COOKIE}=guessed"}, {"cookie": "other=good"}]
)
def test_of_a_stranger_nothing_is_read(shown: dict[str, str], tell: bool) -> None:
    sender = sent(1 << 30, tell=tell, **shown)
    assert (sender.status, sender.read) == (401, 0)
    assert "not read" in json.loads(sender.said)["error"]


def test_who_shows_nothing_sends_not_even_little() -> None:
    assert (sent(10).status, sent(10, authorization="Bearer guessed").status) == (401, 200)


def test_a_form_to_sign_in_is_small() -> None:
    assert sent(bounds.STRANGERS_BODY, "/admin/login/").status == 200
    over = sent(bounds.STRANGERS_BODY + 1, "/admin/login/")
    assert (over.status, over.read) == (413, 0)
    assert sent(1 << 30, "/admin/login/", tell=False).read <= bounds.STRANGERS_BODY + PIECE


@pytest.mark.parametrize(("kind", "most"), [("application/json", bounds.MAX_JSON), ("audio/wav", bounds.MAX_PART)])
def test_who_is_known_sends_as_much_as_one_operation_takes(kind: str, most: int) -> None:
    known = {"authorization": "Bearer good", "content_type": kind}
    assert sent(most, **known).status == 200
    told, untold = sent(most + 1, **known), sent(1 << 30, tell=False, **known)
    assert (told.status, told.read) == (413, 0)
    assert untold.status == 413
    assert untold.read <= most + PIECE
    assert f"{most >> 20} MiB" in json.loads(untold.said)["error"]


def test_somebody_is_known_by_a_token_or_a_session(project: Project, client: Any) -> None:
    client.force_login(person("ada", "viewer", project))
    key = client.cookies[COOKIE].value
    token = api_for(project, TokenScope.DEVICE).token
    assert is_known(f"Bearer {token}", "")
    assert is_known("", key)
    for header, session in (
        ("Bearer oo_00000000_guess", ""),
        ("Basic eA==", ""),
        ("", "guess"),
        (f"Bearer x{token}", key),
    ):
        assert not is_known(header, session)
