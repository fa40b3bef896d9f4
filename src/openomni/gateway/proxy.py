"""Passes everything that is not live on to the API, so that there is one origin. Bodies stream, both ways."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import html
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from ..bounds import STRANGERS_BODY
from .access import AccessDenied, ApiAway

AWAY = "the API is not answering; it restarts, or it is down: try again in a moment"

DRAINED, DRAINING = 4 << 20, 2.0
"""Bytes, and seconds, of a larger one that are thrown away before the refusal."""

_HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"expect",
}  # fmt: skip
_OURS = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"forwarded"}
_REPEATABLE = {"GET", "HEAD", "OPTIONS"}
_TIMEOUT = httpx.Timeout(300.0, connect=3.0, pool=30.0)


class StrangersBodyTooLarge(Exception):
    """A stranger's body goes on beyond `STRANGERS_BODY`."""


class Proxy:
    """An HTTP client of the API that answers as the API does. `check_caller` raises `AccessDenied` or `ApiAway` for
    headers that show nobody who is known."""

    def __init__(self, url: str, check_caller: Callable[[dict[str, str]], Awaitable[None]]) -> None:
        self.url, self._check_caller = httpx.URL(url), check_caller
        # The API closes idle connections after 5 s; we let go of them before, so that none breaks under a request.
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=32, keepalive_expiry=3.0)
        # It remembers no cookie: whoever asks next is somebody else.
        jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT, limits=limits, follow_redirects=False, trust_env=False, cookies=jar
        )

    async def __call__(self, request: Request) -> Response:
        try:
            answer = await self._send(request, await self._content(request))
        except (AccessDenied, StrangersBodyTooLarge) as no:
            line = str(no) or f"a body of more than {STRANGERS_BODY >> 10} KiB needs a token or a sign-in"
            await _drained(request)
            return JSONResponse({"error": line}, 401, {"Connection": "close", "WWW-Authenticate": "Bearer"})
        except ClientDisconnect:
            return Response(status_code=499)
        except (ApiAway, httpx.HTTPError):
            return _away(request)
        response = StreamingResponse(_body(answer), status_code=answer.status_code)
        response.raw_headers = [pair for pair in _passed(answer.headers.raw) if pair[0] != b"date"]
        return response

    async def _content(self, request: Request) -> AsyncIterator[bytes] | None:
        """The body as it comes, of a stranger as much as one may send. Raises `AccessDenied` or `ApiAway` before it
        is read."""
        length = request.headers.get("content-length", "")
        if not length and "transfer-encoding" not in request.headers:
            return None
        if length.isdecimal() and int(length) <= STRANGERS_BODY:
            return request.stream()
        shown = {name: request.headers[name] for name in ("authorization", "cookie") if name in request.headers}
        if not shown and not length:
            return _at_most(request.stream(), STRANGERS_BODY)
        await self._check_caller(shown)
        return request.stream()

    async def _send(self, request: Request, content: AsyncIterator[bytes] | None) -> httpx.Response:
        for attempt in range(2):
            try:
                return await self._http.send(self._request(request, content), stream=True)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # A kept connection that the API had just closed.
                if attempt or request.method not in _REPEATABLE:
                    raise
        raise AssertionError("unreachable")

    def _request(self, request: Request, content: AsyncIterator[bytes] | None) -> httpx.Request:
        headers = [pair for pair in _passed(request.headers.raw) if pair[0] not in _OURS]
        host = request.headers.get("host", "")
        headers += [
            (b"x-forwarded-for", (request.client.host if request.client else "").encode()),
            (b"x-forwarded-proto", {"ws": "http", "wss": "https"}.get(request.url.scheme, request.url.scheme).encode()),
            (b"x-forwarded-host", host.encode()),
        ]
        path = request.scope.get("raw_path") or request.url.path.encode()
        query = request.scope["query_string"]
        target = self.url.copy_with(raw_path=path + b"?" + query if query else path)
        return self._http.build_request(request.method, target, headers=headers, content=content)

    async def close(self) -> None:
        await self._http.aclose()


async def _drained(request: Request) -> None:
    """Takes what there is of a body that is not wanted, within reason: who still sends when the line is closed on them
    may never read why."""
    with contextlib.suppress(TimeoutError, StrangersBodyTooLarge, ClientDisconnect):
        async with asyncio.timeout(DRAINING):
            async for _ in _at_most(request.stream(), DRAINED):
                pass


async def _at_most(parts: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    async for part in parts:
        most -= len(part)
        if most < 0:
            raise StrangersBodyTooLarge
        yield part


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    # As it came: compressed stays compressed.
    try:
        async for part in answer.aiter_raw():
            yield part
    finally:
        await answer.aclose()


def _passed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without what concerns one connection only."""
    # Space around a value is no part of it (RFC 9110), and httpx refuses to send it.
    lowered = [(name.lower(), value.strip()) for name, value in headers]
    named = {
        token.strip().lower()
        for name, value in lowered
        if name == b"connection"
        for token in re.split(rb",", value)
    }  # fmt: skip
    return [(name, value) for name, value in lowered if name not in _HOP_BY_HOP and name not in named]


def away_page() -> str:
    return _PAGE.format(icon=ICON, line=html.escape(AWAY[0].upper() + AWAY[1:]))


def _away(request: Request) -> Response:
    headers = {"Retry-After": "2", "Cache-Control": "no-store"}
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(away_page(), 502, headers | {"Content-Security-Policy": _POLICY})
    return JSONResponse({"error": AWAY}, 502, headers)


ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#5b3fd6"/>'
    '<g stroke="#fff" stroke-width="2.6" stroke-linecap="round">'
    '<path d="M7 14v4M12 10v12M17 6.500v19M22 11v10M27 14.500v3" transform="translate(-1 0)"/></g></svg>'
)
"""The API's `icon.svg`, which is away with it."""

# Like the pages' own look, which can't be loaded now. It reloads by a script: one that a screen reader reads is not cut
# off while the API stays away.
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<noscript><meta http-equiv="refresh" content="3"></noscript><title>One moment · OpenOmni</title><style>
:root {{ color-scheme: light dark; }}
body {{ background: light-dark(#f7f7fa, #121218); color: light-dark(#1a1a24, #ececf2); margin: 0;
  font: 1rem/1.55 system-ui, sans-serif; }}
main {{ background: light-dark(#fff, #1b1b24); border: 1px solid light-dark(#d9d9e3, #34343f); border-radius: .75rem;
  margin: 10vh auto; max-width: 28rem; padding: 1.25rem 1.5rem; width: calc(100% - 5rem); }}
h1 {{ font-size: 1.35rem; margin: 0 0 .5rem; }} p {{ margin: 0; }}
header {{ align-items: center; display: flex; font-weight: 650; gap: .5rem; margin-bottom: 1rem; }}
svg {{ height: 24px; width: 24px; }}
</style><script>
setInterval(async () => {{
  const there = await fetch(location.href, {{ method: "HEAD" }}).then((answer) => answer.status !== 502, () => false);
  if (there) location.replace(location.href);
}}, 3000);
</script></head><body><main>
<header>{icon}OpenOmni</header>
<h1>One moment</h1><p role="status">{line}. This page tries by itself.</p></main></body>
</html>"""


def _hash_of(element: str) -> str:
    """Of what stands in that element of the page: nothing else is run, or styles it."""
    content = away_page().partition(f"<{element}>")[2].partition(f"</{element}>")[0]
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


_POLICY = (
    f"default-src 'none'; script-src 'sha256-{_hash_of('script')}'; style-src 'sha256-{_hash_of('style')}'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
