from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from django.utils import timezone
from ninja import Field, Query, Router, Schema, Status

from ..accounts.authentication import allow
from ..accounts.models import Project, Scope, Token
from ..ground.caller import AuthedRequest
from ..ground.errors import not_found
from ..ground.fields import Body, Name, OneOf, SlugOrNone
from ..ground.paging import Page, Paging, page
from ..places.models import Device, Site

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
