"""Requests over kept connections, through proxies, and given up in the middle."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.client import IncompleteRead

import pytest

from openomni.storage.http import FAILURES, READ_BYTES, Http

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[str]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)  # type: ignore[arg-type]
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode()


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def test_a_connection_is_kept_and_a_new_one_made_when_the_server_closed_it() -> None:
    connections = 0

    async def two_then_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await read_request(reader)
            writer.write(answer(b"yes"))
        writer.close()

    async with serving(two_then_close) as url:
        http = Http(url, {})
        assert [(await http.call("GET", "/")).body for _ in range(3)] == [b"yes"] * 3
        await http.close()
    assert connections == 2


async def test_a_request_that_is_given_up_does_not_wait_for_its_answer() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        await reader.read()
        left.set()
        writer.close()

    async with serving(silent) as url:
        http = Http(url, {})
        call = asyncio.create_task(http.call("GET", "/"))
        await asked.wait()
        call.cancel()
        await left.wait()
        await http.close()


async def test_a_plain_proxy_gets_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await read_request(reader)).splitlines()[0])
        writer.write(answer(b"by proxy"))

    async with serving(proxy) as url:
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.delenv("no_proxy", raising=False)
        http = Http("http://hub.example/lab", {})
        assert (await http.call("GET", "/api", query={"a": "b c"})).body == b"by proxy"
        await http.close()
    assert asked == ["GET http://hub.example:80/lab/api?a=b+c HTTP/1.1"]


@pytest.mark.parametrize(("status", "kept"), [("200 OK", b"new"), ("206 Partial Content", b"oldnew")])
async def test_a_body_goes_into_a_file_whole_or_from_where_it_was(status: str, kept: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b"new", status))

    out = io.BytesIO(b"old")
    out.seek(0, io.SEEK_END)
    async with serving(serve) as url:
        http = Http(url, {})
        assert (await http.call("GET", "/", into=out)).body == b""
        await http.close()
    assert out.getvalue() == kept


async def test_what_is_no_http_is_a_failure() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async with serving(nonsense) as url:
        http = Http(url, {})
        with pytest.raises(FAILURES):
            await http.call("GET", "/")
        await http.close()


class Watched(io.BytesIO):
    """Says when something was written."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop, self.written = loop, asyncio.Event()

    def write(self, data: object) -> int:
        self._loop.call_soon_threadsafe(self.written.set)
        return super().write(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("reset", [False, True])
async def test_a_body_that_breaks_off_is_a_failure_and_is_not_asked_for_again_over_a_kept_connection(
    reset: bool,
) -> None:
    asked, begun = 0, b"x" * READ_BYTES

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await read_request(reader)
        writer.write(answer(b"first"))
        await read_request(reader)
        asked += 1
        writer.write(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1000000\r\n\r\n" + begun)
        await out.written.wait()
        if reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    out = Watched(asyncio.get_running_loop())
    async with serving(break_off) as url:
        http = Http(url, {})
        await http.call("GET", "/")
        with pytest.raises(ConnectionResetError if reset else IncompleteRead):
            await http.call("GET", "/", into=out)
        await http.close()
    assert out.getvalue() == begun
    assert asked == 1


async def test_a_kept_connection_that_another_thread_takes_first_ends_nothing() -> None:
    class Contested(list[object]):
        """Has one whenever it is asked whether it has, and none when it comes to taking it."""

        def __bool__(self) -> bool:
            return True

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b"yes"))
        writer.close()

    async with serving(once) as url:
        http = Http(url, {})
        http._kept = Contested()  # type: ignore[assignment]
        assert (await http.call("GET", "/")).body == b"yes"


async def test_loopback_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b"straight"))

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(serve) as url:
        http = Http(url, {})
        assert (await http.call("GET", "/")).body == b"straight"
        await http.close()
