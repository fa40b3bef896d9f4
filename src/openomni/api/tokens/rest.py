from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from django.utils import timezone
from ninja import Field, Query, Router, Schema, Status

from ..accounts import authentication
from ..accounts.authentication import SERVER, allow
from ..accounts.models import Project, Scope, Token
from ..ground.caller import AuthedRequest
from ..ground.errors import Refusal, not_found
from ..ground.fields import Body, Line, Name, OneOf, PartMessage, SlugOrNone
from ..ground.paging import Page, Paging, page
from ..places.models import Device, Site, site_of

router = Router(tags=["accounts"])


class TokenOut(Schema):
    """A token without its secret."""

    id: str
    name: str
    scopes: list[str]
    site: str
    device: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class TokenNew(Body):
    """Without `expires_in_days` it is for ever."""

    name: Name = ""
    scopes: list[Annotated[str, OneOf("scope", *Scope.values)]] = Field(min_length=1, max_length=20)
    site: SlugOrNone = Field("", description="slug of the site that it is limited to")
    device: SlugOrNone = Field("", description="slug of the device that it is limited to")
    expires_in_days: float | None = Field(None, gt=0, le=36500)


class TokenMade(TokenOut):
    token: str = Field(description="its text; shown this once")


@router.get("/tokens", auth=allow(Scope.ADMIN), response=Page[TokenOut], summary="The project's tokens")
def list_tokens(request: AuthedRequest, paging: Query[Paging]) -> dict[str, Any]:
    return page(Token.objects.scoped(request), paging)


@router.post("/tokens", auth=allow(Scope.ADMIN), response={201: TokenMade}, summary="Make a token")
def create_token(request: AuthedRequest, payload: TokenNew) -> Any:
    """The token of somebody who is limited to a site or a device is limited to it too."""
    days, caller = payload.expires_in_days, request.auth
    token, text = Token.issue(
        Project.objects.get(pk=caller.project_id),
        payload.scopes,
        name=payload.name,
        site=_known(Site, request, payload.site) or caller.site,
        device=_known(Device, request, payload.device) or caller.device,
        created_by_id=caller.user_id,
        expires_at=timezone.now() + timedelta(days=days) if days else None,
    )
    return Status(201, {**{field: getattr(token, field) for field in TokenOut.model_fields}, "token": text})


@router.delete("/tokens/{token_id}", auth=allow(Scope.ADMIN), response={204: None}, summary="Revoke a token")
def revoke_token(request: AuthedRequest, token_id: str) -> Any:
    found = Token.objects.scoped(request).filter(pk=token_id)
    if not found.exists():
        not_found("token", token_id)
    found.filter(revoked_at=None).update(revoked_at=timezone.now())
    return Status(204, None)


def _known(model: type[Site] | type[Device], request: AuthedRequest, slug: str) -> str:
    if slug and not model.objects.scoped(request).filter(slug=slug).exists():
        names = model.objects.scoped(request).values_list("slug", flat=True)
        not_found(str(model._meta.verbose_name), slug, names)
    return slug


class Introspect(PartMessage):
    token: Line


class Introspection(Schema):
    """What a token lets its holder do; the gateway keeps it for a while."""

    token_id: str
    project: str
    scopes: list[str]
    site: str = Field(description="that of the token, or where its device stands")
    device: str
    person: str = Field(description="who made it for themself on a page; empty for a device's or a script's")
    expires_at: datetime | None


@router.post("/auth/introspect", auth=allow(SERVER), response=Introspection, summary="Look a token up (server only)")
def introspect(request: AuthedRequest, payload: Introspect) -> dict[str, Any]:
    try:
        token = authentication.find_token(payload.token)
    except Refusal as refusal:
        # The gateway itself was let in: 404 says that it is the token in question that lets nobody in.
        raise Refusal(404, str(refusal)) from None
    return {
        "token_id": token.pk,
        "project": token.project_id,
        "scopes": sorted(authentication.of_text(payload.token).scopes),
        "site": token.site or site_of(token.project_id, token.device),
        "device": token.device,
        "person": str(token.created_by_id or "") if token.own else "",
        "expires_at": token.expires_at,
    }
