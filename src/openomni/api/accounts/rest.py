from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from ninja import Field, Query, Router, Schema, Status

from ... import __version__
from ...errors import nearest
from .. import auth, handshake
from ..auth import SERVER, AuthedRequest, allow
from ..errors import Refusal, bad_request, conflict, not_found
from ..paging import Page, Paging, page
from ..places.models import Device, Site
from .models import Membership, Project, Role, Scope, Token, slug_validator

router = Router(tags=["accounts"])

ANYONE = (Scope.DEVICE, Scope.AGENT, Scope.VIEWER)
"""Every token; `viewer` is part of all the others."""


class Hello(Schema):
    """What this server is, and the oldest client that it works with."""

    version: str
    min_client: str


@router.get("/hello", auth=None, response=Hello, summary="Shake hands on versions")
def hello(request: AuthedRequest) -> dict[str, Any]:
    return {"version": __version__, "min_client": handshake.MIN_CLIENT}


class WhoAmI(Schema):
    project: str
    scopes: list[str]
    token_id: str | None
    user: str | None
    site: str
    device: str


@router.get("/me", auth=allow(*ANYONE), response=WhoAmI, summary="What the caller is and may do")
def me(request: AuthedRequest) -> dict[str, Any]:
    return _described(request.auth)


def _described(caller: auth.Caller) -> dict[str, Any]:
    return {
        "project": caller.project_id,
        "scopes": sorted(caller.scopes),
        "token_id": caller.token.pk if caller.token else None,
        "user": caller.user.get_username() if caller.user else None,
        "site": caller.site,
        "device": caller.device,
    }


class Introspect(Schema):
    token: str


class Introspection(Schema):
    """What a token lets its holder do; the gateway keeps it for a while."""

    token_id: str
    project: str
    scopes: list[str]
    site: str
    device: str
    person: str = Field(description="who made it for themself on a page; empty for a device's or a script's")
    expires_at: datetime | None


@router.post("/auth/introspect", auth=allow(SERVER), response=Introspection, summary="Look a token up (server only)")
def introspect(request: AuthedRequest, payload: Introspect) -> dict[str, Any]:
    try:
        token = auth.find_token(payload.token)
    except Refusal as refusal:
        # The gateway itself was let in: 404 says that it is the token in question that lets nobody in.
        raise Refusal(404, str(refusal)) from None
    caller = auth.of_text(payload.token)
    person = str(token.created_by_id or "") if token.own else ""
    return {**_described(caller), "person": person, "expires_at": token.expires_at}


# ---- projects ------------------------------------------------------------------------------------------------


class ProjectOut(Schema):
    slug: str
    name: str
    created_at: datetime


class ProjectChange(Schema):
    name: str = Field(min_length=1, max_length=200)


@router.get("/projects", auth=allow(*ANYONE), response=Page[ProjectOut], summary="The caller's projects")
def list_projects(request: AuthedRequest, paging: Query[Paging]) -> dict[str, Any]:
    # A token has one project; a signed-in person sees all that they belong to.
    user = request.auth.user
    mine = auth.roles_of(user) if user else [request.auth.project_id]
    return page(Project.objects.filter(pk__in=mine), paging, "slug")


@router.get("/projects/{slug}", auth=allow(*ANYONE), response=ProjectOut, summary="One project")
def get_project(request: AuthedRequest, slug: str) -> Project:
    return _own_project(request, slug)


@router.patch("/projects/{slug}", auth=allow(Scope.ADMIN, whole=True), response=ProjectOut, summary="Rename a project")
def change_project(request: AuthedRequest, slug: str, payload: ProjectChange) -> Project:
    project = _own_project(request, slug)
    project.name = payload.name
    project.save(update_fields=["name"])
    return project


def _own_project(request: AuthedRequest, slug: str) -> Project:
    if slug != request.auth.project_id:
        not_found("project", slug, [request.auth.project_id])
    return Project.objects.get(pk=slug)


class ProjectNew(ProjectChange):
    slug: str = Field(min_length=1, max_length=40)


@router.post("/projects", auth=allow(Scope.ADMIN), response={201: ProjectOut}, summary="Create a project (superusers)")
def create_project(request: AuthedRequest, payload: ProjectNew) -> Any:
    user = request.auth.user
    if user is None or not user.is_superuser:
        raise Refusal(403, "a token is for one project; make another with: openomni api project create")
    slug_validator(payload.slug)
    if Project.objects.filter(pk=payload.slug).exists():
        conflict(f"there is a project {payload.slug!r} already; choose another slug")
    with transaction.atomic():
        project = Project.objects.create(slug=payload.slug, name=payload.name)
        Membership.objects.create(project=project, user=user, role=Role.OWNER)
    return Status(201, project)


# ---- tokens --------------------------------------------------------------------------------------------------


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


class TokenNew(Schema, extra="forbid"):
    # A limit that is misspelt must not make a token without it.
    name: str = Field("", max_length=200)
    scopes: list[str] = Field(min_length=1)
    site: str = Field("", description="slug of the site that it is limited to")
    device: str = Field("", description="slug of the device that it is limited to")
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
        checked_scopes(payload.scopes),
        name=payload.name,
        site=_known(Site, request, payload.site) or caller.site,
        device=_known(Device, request, payload.device) or caller.device,
        created_by=caller.user,
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


def checked_scopes(scopes: list[str]) -> list[str]:
    for scope in scopes:
        if scope not in Scope.values:
            bad_request(f"unknown scope {scope!r}; {nearest(scope, Scope.values)}")
    return scopes


def _known(model: type[Site] | type[Device], request: AuthedRequest, slug: str) -> str:
    if slug and not model.objects.scoped(request).filter(slug=slug).exists():
        names = model.objects.scoped(request).values_list("slug", flat=True)
        not_found(str(model._meta.verbose_name), slug, names)
    return slug
