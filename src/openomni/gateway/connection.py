"""What every WebSocket door does first and last: who comes in, and how a connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..bus import subjects
from ..bus.connection import BusError
from ..bus.subscription import Overflow
from ..errors import WrongUsage
from . import protocol
from .access import Access, AccessDenied, ApiAway, bearer
from .hello import upgrade_line
from .placing import NoHost
from .protocol import Ended, ProtocolError, failure
from .services import Gateway

log = logging.getLogger(__name__)

RECHECK_EVERY = 30.0
"""Seconds between looks at whether a token still holds."""
SLOW_CLIENT = 20.0
"""Seconds that a client may leave a message unread."""
LEFT_FOR_GOOD = {1000, 1001}
"""Close codes of a client that says goodbye; after others it may come back."""


@contextlib.asynccontextmanager
async def admit(
    gateway: Gateway, websocket: WebSocket, scope: str = "device", *others: str
) -> AsyncIterator[tuple[str, Access] | None]:
    """Accepts a client with a good token of that scope, or one of the `others`, as long as the connection lasts;
    answers others by HTTP and gives None."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            admitted = await known(gateway, websocket, scope, *others)
            if gateway.closing.is_set():
                raise AccessDenied(503, "the gateway is stopping; connect again")
            stack.enter_context(gateway.connection(admitted[1].token_id))
        except (AccessDenied, ApiAway) as no:
            await websocket.send_denial_response(refusal(no))
            yield None
            return
        offered = websocket.scope["subprotocols"]
        await websocket.accept("realtime" if "realtime" in offered else None)
        yield admitted


async def known(gateway: Gateway, websocket: WebSocket, scope: str, *others: str) -> tuple[str, Access]:
    """The token that a client shows, and what it may do, with that scope or one of the `others` among it. Raises
    `AccessDenied`, `ApiAway`."""
    token = bearer(websocket.headers.get("authorization", ""), websocket.scope["subprotocols"])
    version = websocket.headers.get("openomni-version", "")
    if protocol.too_old(version):
        raise AccessDenied(426, upgrade_line(version))
    if not token:
        raise AccessDenied(401, "this needs a token: send 'Authorization: Bearer oo_…'")
    access = await gateway.api.access(token)
    access.require(scope, *others)
    return token, access


def refusal(no: AccessDenied | ApiAway) -> JSONResponse:
    """The answer to who may not, in the protocol's form."""
    status = no.status if isinstance(no, AccessDenied) else 503
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"type": kind, "code": _CODES[status], "message": str(no)}}
    return JSONResponse(body, status, {"WWW-Authenticate": "Bearer"} if status == 401 else {})


_CODES = {
    401: "invalid_token", 403: "missing_scope", 404: "unknown_pipeline", 426: "client_too_old",
    429: "too_many_connections", 503: "unavailable",
}  # fmt: skip


def site(websocket: WebSocket, access: Access) -> str:
    """The site that a connection is for: the token's, where it has one, else `?site=`; empty for none. A device is let
    in at no site but its own: what it hears there, and makes heard, is others'."""
    wanted = websocket.query_params.get("site", "")
    bound = access.site or ""
    if bound and wanted not in ("", bound):
        raise failure(
            protocol.FORBIDDEN, "wrong_site", f"this token is for the site {bound!r}, and {wanted!r} was asked for"
        )
    if wanted and not bound and not access.reads_project:
        raise failure(
            protocol.FORBIDDEN,
            "no_site",
            f"this token is for no site, and {wanted!r} was asked for; make one with --site {wanted[:40]}",
        )
    return bound or wanted


def room(site: str, access: Access) -> str:
    """What stands for the site in subjects: of a session without one, and who plays it, the token that both came with.
    Nobody else plays it, whatever their scopes."""
    return site or subjects.siteless(access.token_id)


async def receive(websocket: WebSocket) -> str | bytes:
    """The next message. Raises `WebSocketDisconnect`."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006), message.get("reason"))
    data = message.get("bytes")
    return data if data is not None else message["text"]  # type: ignore[no-any-return]


async def send(websocket: WebSocket, message: str | bytes) -> None:
    """Sends text or a binary frame. Raises `Ended` for a client that does not read."""
    try:
        async with asyncio.timeout(SLOW_CLIENT):
            await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))
    except TimeoutError:
        raise Ended(protocol.TOO_SLOW, f"nothing was read for {SLOW_CLIENT:.0f} s") from None


async def watch(gateway: Gateway, token: str) -> None:
    """Raises `Ended` when the gateway stops, or the token expires or is revoked."""
    while True:
        try:
            access = await gateway.api.access(token)
        except AccessDenied as no:
            raise failure(protocol.UNAUTHORIZED, "invalid_token", str(no)) from None
        except ApiAway as away:
            log.warning("%s; going on with what was known", away)
            wait = RECHECK_EVERY
        else:
            wait = min(access.seconds_left, RECHECK_EVERY)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(wait, 0.0) + 0.01):
                await gateway.closing.wait()
            raise failure(protocol.RESTARTING, "gateway_stops", "the gateway is stopping; connect again")


def as_end(error: BaseException) -> Ended | WebSocketDisconnect:
    """Why a connection ends; what nobody thought of is logged and told as what it is."""
    match error:
        case Ended() | WebSocketDisconnect():
            return error
        case BaseExceptionGroup():
            return as_end(error.exceptions[0])
        case Overflow():
            return Ended(protocol.TOO_SLOW, "what was said was not read fast enough")
        case NoHost():
            return failure(protocol.UNAVAILABLE, "no_agent", str(error))
        case ApiAway() | BusError():
            return failure(protocol.UNAVAILABLE, "unavailable", str(error))
        case ProtocolError():
            return failure(protocol.BAD_REQUEST, error.code, error.message)
        case WrongUsage():
            return failure(protocol.BAD_REQUEST, "invalid_value", str(error))
        case _:
            log.error("a connection failed", exc_info=error)
            return failure(1011, "internal_error", "the gateway failed on this session; its log says why")


async def close(websocket: WebSocket, ended: Ended, *events: str) -> None:
    """Sends the last events and closes; a client that is gone already is fine."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(2.0):
            for event in events:
                await websocket.send_text(event)
            await websocket.close(ended.code, protocol.close_reason(ended.reason))
