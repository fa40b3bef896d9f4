"""The talk page, and the short-lived token with which its browser is let in at the gateway.

A session adds recordings of a person to the project. Who may add to a project is a researcher or an owner; viewers
work with what is there already. So the page shows them what could be talked with, and gives a token to researchers and
owners alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from ... import records
from ...pipeline.spec import PipelineError, builtin, check
from ...version import __version__
from ..accounts.models import Project, Role, Scope, Token
from ..fleet import components
from ..fleet.placing import Need, Placing
from ..look.project_page import Here, here, page
from ..pipelines import catalogue
from ..records import waterfall
from ..records.models import Session

MAY_RECORD = Role.RESEARCHER
HOLDS = timedelta(hours=12)
"""How long a token lasts: longer than anybody talks. The page gets a new one for each session."""
KEPT = timedelta(days=1)
"""How long one is kept after that: the gateway may still be uploading with it what it recorded."""
NAME = "talk page"


@never_cache
@require_safe
@page(Role.VIEWER)
def talk(request: HttpRequest) -> HttpResponse:
    where = here(request)
    found = _pipelines(where.project)
    wanted = request.GET.get("pipeline", "")
    about = {
        "version": __version__,
        "project": where.project,
        "person": where.user.get_username(),
        "pipeline": wanted if any(each["name"] == wanted for each in found) else "",
        "first": _first(where.project),
    }
    context = {
        "pipelines": found,
        "about": about,
        "may_record": where.may(MAY_RECORD),
        "role": where.role.value,
    }
    return render(request, "talk/talk.html", context)


@never_cache
@require_safe
@page(Role.VIEWER)
def pipelines(request: HttpRequest) -> HttpResponse:
    """What could be talked with now, as JSON: an agent may have come since the page was made."""
    return JsonResponse({"items": _pipelines(here(request).project)})


@never_cache
@require_POST
@page(MAY_RECORD)
def token(request: HttpRequest) -> HttpResponse:
    """A token of the scope `device` for whoever is signed in, named after them; 201 with its text, this once."""
    where = here(request)
    if request.GET.get("project", where.project) != where.project:
        raise PermissionDenied("you don't belong to that project any more")
    _forget_old(where)
    made, text = Token.issue(
        Project.objects.get(pk=where.project),
        [Scope.DEVICE],
        name=f"{NAME}: {where.user.get_username()}",
        created_by=where.user,
        own=True,
        expires_at=timezone.now() + HOLDS,
    )
    return JsonResponse({"token": text, "expires_at": made.expires_at}, status=201)


@never_cache
@require_POST
@page(Role.VIEWER)
def timeline(request: HttpRequest) -> HttpResponse:
    """The picture of a turn, from the record that the gateway told the browser, which may not be stored yet."""
    try:
        turn = records.decode(request.body)
    except msgspec.MsgspecError as error:
        return HttpResponse(f"this is no turn's record ({error})", status=400, content_type="text/plain")
    if not isinstance(turn, records.TurnRecord):
        return HttpResponse("this is no turn's record", status=400, content_type="text/plain")
    return HttpResponse(waterfall.draw(turn))


def _forget_old(where: Here) -> None:
    """Removes this person's tokens of this page that expired long ago. Those that hold are left alone: another tab may
    be talking with one, and the gateway may be uploading with it what an earlier session recorded."""
    gone = timezone.now() - KEPT
    Token.objects.filter(project_id=where.project, created_by=where.user, own=True, expires_at__lt=gone).delete()


def _first(project: str) -> list[str]:
    """Pipelines to offer first to a browser that remembers none: the one that was talked with last, and the built-in
    ones, which run on a fresh machine."""
    latest = Session.objects.filter(project_id=project).exclude(pipeline="").order_by("-created_at").first()
    return [*([latest.pipeline] if latest else []), *builtin()]


def _pipelines(project: str) -> list[dict[str, Any]]:
    """Name, description, stages, whether it sees, and what no live agent offers now; those that can run come first."""
    placing, schemas = Placing.now(project), components.schemas(project)
    told = [_described(placing, schemas, found) for found in catalogue.everything(project)]
    return sorted(told, key=lambda each: bool(each["missing"] or each["fault"]))


def _described(placing: Placing, schemas: Mapping[Need, Any], found: catalogue.Found) -> dict[str, Any]:
    told = {
        "name": found.name,
        "description": found.description,
        "stages": [],
        "sees": False,
        "missing": [],
        "fault": "",
    }
    try:
        pipeline = found.pipeline
    except PipelineError as fault:
        return {**told, "fault": f"it can't be read ({fault}); save it again on the pipelines page"}
    missing = [f"{kind}:{name}" for kind, name in placing.missing(pipeline)]
    faults = check(pipeline, schemas) if not missing else []
    return {
        **told,
        "stages": [f"{stage.kind}: {stage.component}" for stage in pipeline.stages],
        "sees": any(stage.framework.frames for stage in pipeline.stages),
        "missing": missing if placing.hosts else ["host", *missing],
        "fault": faults[0] if faults else "",
    }
