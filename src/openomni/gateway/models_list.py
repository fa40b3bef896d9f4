"""`/v1/models`: the pipelines of a token's project, as the official SDK lists models."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .access import AccessDenied, ApiAway, bearer
from .connection import refusal
from .protocol import Json
from .services import Gateway


async def models(request: Request) -> Response:
    """All of them, or the one that the path names."""
    gateway: Gateway = request.app.state.gateway
    wanted = request.path_params.get("name")
    try:
        token = bearer(request.headers.get("authorization", ""), [])
        if not token:
            raise AccessDenied(401, "this needs a token: send 'Authorization: Bearer oo_…'")
        access = await gateway.api.access(token)
        access.require("device")
        if wanted is not None:
            return JSONResponse(_model((await gateway.api.pipeline(access.project, wanted)).name))
        names = await gateway.api.pipelines(access.project)
    except (AccessDenied, ApiAway) as no:
        return refusal(no)
    return JSONResponse({"object": "list", "data": [_model(name) for name in names]})


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": "openomni"}
