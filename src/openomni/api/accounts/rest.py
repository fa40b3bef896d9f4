from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from ninja import Query, Router, Schema, Status

from ...version import __version__
from ..ground import handshake
from ..ground.caller import AuthedRequest, Caller
from ..ground.document import also
from ..ground.errors import Refusal, conflict, not_found
from ..ground.fields import Body, NewName, NewSlug
from ..ground.paging import Page, Paging, page
from .authentication import allow
from .models import Membership, Project, Role, Scope, User
from .roles import roles_of

router = Router(tags=["accounts"])

ANYONE = (Scope.DEVICE, Scope.AGENT, Scope.VIEWER, Scope.ANNOTATOR)
"""Every token; the others include one of these."""


class ServerHello(Schema):
    """What this server is, and the oldest client that it works with."""

    version: str
    min_client: str


@router.get("/hello", auth=None, response=ServerHello, summary="Shake hands on versions")
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
    return described(request.auth)


def described(caller: Caller) -> dict[str, Any]:
    return {
        "project": caller.project_id,
        "scopes": sorted(caller.scopes),
        "token_id": caller.token_id or None,
        "user": caller.user_name or None,
        "site": caller.site,
        "device": caller.device,
    }


# ---- projects ------------------------------------------------------------------------------------------------


class ProjectOut(Schema):
    slug: str
    name: str
    created_at: datetime


class ProjectChange(Body):
    name: NewName


@router.get("/projects", auth=allow(*ANYONE), response=Page[ProjectOut], summary="The caller's projects")
def list_projects(request: AuthedRequest, paging: Query[Paging]) -> dict[str, Any]:
    # A token has one project; a signed-in person sees all that they belong to.
    user = _person(request)
    mine = roles_of(user) if user else [request.auth.project_id]
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


def _person(request: AuthedRequest) -> User | None:
    """Who is signed in; None for whoever came with a token."""
    signed_in = request.auth.user_id is not None
    return request.user if signed_in and isinstance(request.user, User) else None


def _own_project(request: AuthedRequest, slug: str) -> Project:
    if slug != request.auth.project_id:
        not_found("project", slug, [request.auth.project_id])
    return Project.objects.get(pk=slug)


class ProjectNew(ProjectChange):
    slug: NewSlug


@router.post(
    "/projects",
    auth=allow(Scope.ADMIN),
    response={201: ProjectOut},
    summary="Create a project (superusers)",
    openapi_extra=also(409),
)
def create_project(request: AuthedRequest, payload: ProjectNew) -> Any:
    user = _person(request)
    if user is None or not user.is_superuser:
        raise Refusal(403, "a token is for one project; make another with: openomni api project create")
    if Project.objects.filter(pk=payload.slug).exists():
        conflict(f"there is a project {payload.slug!r} already; choose another slug")
    with transaction.atomic():
        project = Project.objects.create(slug=payload.slug, name=payload.name)
        Membership.objects.create(project=project, user=user, role=Role.OWNER)
    return Status(201, project)
