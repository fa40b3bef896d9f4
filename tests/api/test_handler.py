"""How a request gets from the loop to a view and back: by one change of threads, of which there are few."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from openomni.api import handler
from openomni.api.handler import Handler

going, closed = threading.Event(), threading.Event()


class Endless:
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b"more "
            await asyncio.sleep(0)

    def close(self) -> None:
        closed.set()


def where(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{threading.current_thread().name} {request.body.decode()}")


def waits(request: HttpRequest) -> HttpResponse:
    going.wait(20)
    return HttpResponse("waited")


def breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("of the view")


def handler500(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page says so", status=500)


urlpatterns = [
    path("where/", where),
    path("waits/", waits),
    path("breaks/", breaks),
    path("endless/", lambda request: StreamingHttpResponse(Endless())),
]


@pytest.fixture(autouse=True)
def served(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    going.clear()
    closed.clear()


async def asked(of: Handler, route: str, body: bytes = b"", pieces: int | None = None) -> tuple[int, bytes]:
    """Status and body; with `pieces`, who asks goes away after so many."""
    gone, sent = asyncio.Event(), [{"type": "http.request", "body": body, "more_body": False}]
    status, said = 0, b""

    async def receive() -> Any:
        if sent:
            return sent.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status, said, pieces
        status = message.get("status", status)
        said += message.get("body", b"")
        if pieces is not None and message["type"] == "http.response.body":
            pieces -= 1
            if pieces <= 0:
                gone.set()

    scope = {"type": "http", "method": "GET", "path": route, "query_string": b"", "root_path": "",
             "headers": [(b"host", b"localhost")], "scheme": "http", "server": ("localhost", 80)}  # fmt: skip
    async with asyncio.timeout(20):
        await of(scope, receive, send)
    return status, said


async def test_requests_share_a_few_threads() -> None:
    of = Handler()
    said = [await asked(of, "/where/", b"me") for _ in range(3 * handler.THREADS)]
    assert {status for status, _ in said} == {200}
    where = {body for _, body in said}
    assert where <= {f"request_{number} me".encode() for number in range(handler.THREADS)}


async def test_more_than_there_are_threads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "THREADS", 2)
    of = Handler()
    first = [asyncio.create_task(asked(of, "/waits/")) for _ in range(2)]
    third = asyncio.create_task(asked(of, "/where/"))
    await asyncio.sleep(0.1)
    assert not any(each.done() for each in (*first, third))
    going.set()
    assert [status for status, _ in await asyncio.gather(*first, third)] == [200] * 3


async def test_an_error_of_a_view_is_an_answer_and_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    of = Handler()
    assert await asked(of, "/breaks/") == (500, b"a page says so")
    assert (await asked(of, "/where/"))[0] == 200


async def test_a_stream_ends_and_is_closed_when_nobody_is_there_any_more() -> None:
    status, said = await asked(Handler(), "/endless/", pieces=3)
    assert (status, said[:5]) == (200, b"more ")
    assert closed.is_set()


async def test_what_asks_the_database_does_so_on_such_a_thread() -> None:
    assert (await Handler().asked(lambda: threading.current_thread().name)).startswith("request")
