"""Bodies are looked at before they are read: a stranger's is not, and nobody's beyond what it may hold.

Django keeps a whole body before it asks who sends it, so that is asked here. What is refused is answered from the head
of the request alone, where that says how long it is; nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import bounds

IsKnown = Callable[[Mapping[str, str]], Awaitable[bool]]
"""Whether who shows these headers (`authorization`, `cookie`) is somebody."""
OPEN = ("/admin/login/",)
"""Where somebody unknown sends a form: to become known."""
UNKNOWN = "this needs a token: send 'Authorization: Bearer oo_…', or sign in; the body was not read"


class BodyTooLarge(Exception):
    """A body goes on beyond what it may hold."""


class Bodies:
    """ASGI middleware. `cookie` is the name of that of a person's session."""

    def __init__(self, app: ASGIApp, is_known: IsKnown, cookie: str) -> None:
        self.app, self._is_known, self._cookie = app, is_known, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        length = headers.get("content-length", "")
        if length in ("", "0") and "transfer-encoding" not in headers:
            await self.app(scope, receive, send)
            return
        said = int(length) if length.isdecimal() and len(length) < 20 else None
        most = _most(headers)
        if scope["path"] in OPEN and not self._shown(headers):
            most = bounds.STRANGERS_BODY
        elif not await self._may_send(headers, said):
            await _refuse(401, UNKNOWN, scope, receive, send)
            return
        if said is not None and said > most:
            await _refuse(413, _too_big(most), scope, receive, send)
            return
        try:
            await self.app(scope, _at_most(receive, most), send)
        except BodyTooLarge:
            await _refuse(413, _too_big(most), scope, receive, send)

    def _shown(self, headers: Headers) -> dict[str, str]:
        """What of the headers could say who it is."""
        shown = {"authorization": headers.get("authorization", "")}
        if f"{self._cookie}=" in headers.get("cookie", ""):
            shown["cookie"] = headers["cookie"]
        return {name: text for name, text in shown.items() if text}

    async def _may_send(self, headers: Headers, said: int | None) -> bool:
        """A short body is read of whoever shows something, before anyone looks closer; a longer one of who is known."""
        shown = self._shown(headers)
        if not shown or (said is not None and said <= bounds.STRANGERS_BODY):
            return bool(shown)
        return await self._is_known(shown)


def _most(headers: Headers) -> int:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return bounds.MAX_JSON if kind == "application/json" else bounds.MAX_PART


def _too_big(most: int) -> str:
    size = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
    return f"the body is too big; send at most {size} at a time"


def _at_most(receive: Receive, most: int) -> Receive:
    left = most

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise BodyTooLarge
        return message

    return counted


async def _refuse(status: int, line: str, scope: Scope, receive: Receive, send: Send) -> None:
    # What is left of the body stays unread, so nothing else can come on this connection.
    headers = {"Connection": "close"} | ({"WWW-Authenticate": "Bearer"} if status == 401 else {})
    await JSONResponse({"error": line}, status, headers)(scope, receive, send)
