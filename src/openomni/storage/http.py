"""HTTP/1.1 with the standard library: connections are kept and proxies heeded. A listener on a small board has 80 MB
for everything, and the usual client library takes ten of them."""

from __future__ import annotations

import asyncio
import base64
import http.client
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import unquote, urlencode, urlsplit

from ..proxies import proxy_for

CONNECT_S = 5.0
ANSWER_S = 30.0
READ_BYTES = 256 * 1024
AT_ONCE = 4

FAILURES = (OSError, http.client.HTTPException)
"""What `Http.call` raises when there is no answer."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`body` is empty where the body went into a file."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class _Call:
    """A request under way in a thread."""

    method: str
    target: str
    body: bytes | None
    headers: dict[str, str]
    into: BinaryIO | None
    connection: http.client.HTTPConnection | None = field(default=None)
    aborted: bool = False

    def abort(self) -> None:
        """Has the thread fail at once rather than wait for its answer."""
        self.aborted = True
        sock = self.connection.sock if self.connection else None
        if sock is not None:
            try:
                sock.shutdown(2)
            except OSError:
                return  # it is closed already


class Http:
    """Requests to one server; `headers` go with each."""

    def __init__(self, server: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(server)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._proxy = urlsplit(proxy_for(server) or "")
        self._headers = dict(headers)
        self._tls = tls() if self._secure else None
        self._kept: list[http.client.HTTPConnection] = []
        self._closed = False
        # Threads of their own: uploads that hang must not hold up the sound that is being decoded.
        self._threads = ThreadPoolExecutor(AT_ONCE, "http")

    async def call(
        self, method: str, path: str, *, query: Mapping[str, object] | None = None, body: bytes | None = None,
        headers: Mapping[str, str] | None = None, into: BinaryIO | None = None,
    ) -> HttpAnswer:  # fmt: skip
        """The answer, whatever its status. The body of a 200 replaces what is in the file `into`, that of a 206 is
        added to it. Raises one of `FAILURES`."""
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        call = _Call(method, target, body, self._headers | dict(headers or {}), into)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._perform, call)
        except asyncio.CancelledError:
            call.abort()
            raise

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._closed = True
        while connection := self._idle():
            connection.close()

    def _idle(self) -> http.client.HTTPConnection | None:
        """A kept connection that no other thread has."""
        try:
            return self._kept.pop()
        except IndexError:  # asking first whether there is one would ask for one that another thread takes
            return None

    def _perform(self, call: _Call) -> HttpAnswer:
        call.connection = self._idle()
        if call.connection is not None:
            try:
                response = self._ask(call, call.connection)
            except (ConnectionError, http.client.BadStatusLine, http.client.CannotSendRequest):
                # The server had closed it meanwhile; whatever we ask may be asked twice.
                call.connection.close()
                if call.aborted:
                    raise
            except BaseException:
                call.connection.close()
                raise
            else:
                return self._receive(call, call.connection, response)
        call.connection = self._connect()
        try:
            response = self._ask(call, call.connection)
        except BaseException:
            call.connection.close()
            raise
        return self._receive(call, call.connection, response)

    def _ask(self, call: _Call, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        through_proxy = bool(self._proxy.netloc) and not self._secure
        target = f"http://{self._host}:{self._port}{call.target}" if through_proxy else call.target
        connection.request(call.method, target, call.body, call.headers)
        return connection.getresponse()

    def _receive(
        self, call: _Call, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> HttpAnswer:
        """Never asked for again here once it has begun: what came is in the file, and the next try goes on from it."""
        body = b""
        try:
            if call.into is not None and response.status in (200, 206):
                _save(response, call.into)
            else:
                body = response.read()
        except BaseException:
            connection.close()
            raise
        answer = HttpAnswer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
        if response.will_close or self._closed:
            connection.close()
        else:
            self._kept.append(connection)
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        proxy = self._proxy
        host, port = (proxy.hostname or "", proxy.port or 80) if proxy.netloc else (self._host, self._port)
        if self._secure:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_S, context=self._tls
            )
            if proxy.netloc:
                connection.set_tunnel(self._host, self._port, _proxy_headers(proxy.username, proxy.password))
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_S)
        connection.connect()
        connection.sock.settimeout(ANSWER_S)
        return connection


def tls() -> ssl.SSLContext:
    """Trusts what the system trusts, and the certificates in SSL_CERT_FILE."""
    return ssl.create_default_context()


def _save(response: http.client.HTTPResponse, out: BinaryIO) -> None:
    if response.status == 200:
        out.seek(0)
        out.truncate()
    while data := response.read(READ_BYTES):
        out.write(data)
    if response.length:  # the library takes a connection that broke for the end
        raise http.client.IncompleteRead(b"", response.length)


def _proxy_headers(user: str | None, password: str | None) -> dict[str, str]:
    if not user:
        return {}
    credentials = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(credentials).decode()}"}
