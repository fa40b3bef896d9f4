"""The gateway as an ASGI application: the live doors, the bridge to the bus, and everything else passed on."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from . import connection
from .access import AccessDenied, ApiAway
from .models_list import models
from .realtime import realtime
from .responder import respond
from .services import Gateway

SERVING = ("gateway", "bus", "api")
"""The parts without which nobody is served."""
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def healthz(request: Request) -> Response:
    """200 when all parts answer, else 503; says which, and what else does not run at this moment, and why."""
    health = await request.app.state.gateway.health()
    return JSONResponse(health, 200 if all(health[part] == "ok" for part in SERVING) else 503)


async def bus(websocket: WebSocket) -> None:
    """Agents come in here while the gateway stops, too: they have turns to finish."""
    gateway: Gateway = websocket.app.state.gateway
    try:
        _, access = await connection.known(gateway, websocket, "agent")
    except (AccessDenied, ApiAway) as no:
        await websocket.send_denial_response(connection.refusal(no))
        return
    await gateway.tunnel(websocket, access.token_id)


async def everything_else(request: Request) -> Response:
    return await request.app.state.gateway.proxy(request)  # type: ignore[no-any-return]


def application(gateway: Callable[[], Gateway]) -> Starlette:
    """The application; `gateway` is made when it starts."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with gateway() as app.state.gateway:
            yield

    return Starlette(
        lifespan=lifespan,
        routes=[
            WebSocketRoute("/v1/realtime", realtime),
            WebSocketRoute("/v1/respond", respond),
            WebSocketRoute("/bus", bus),
            Route("/healthz", healthz),
            Route("/v1/models", models),
            Route("/v1/models/{name:path}", models),
            Route("/{path:path}", everything_else, methods=METHODS),
        ],
    )
