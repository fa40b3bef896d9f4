"""The pages of annotation: what somebody is asked, and the workspace in which they answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..accounts.models import Role
from ..ground.errors import Refusal
from ..ground.paging import of_query
from ..ground.paging import page as paged
from ..look.project_page import here, page
from . import beginning, progress
from .models import Campaign

PER_PAGE = 25


@never_cache
@require_safe
@page(Role.ANNOTATOR)
def annotate(request: HttpRequest) -> HttpResponse:
    """What the person is asked; for a researcher also what others are."""
    where = here(request)
    campaigns = Campaign.objects.of_user(where.user).filter(project_id=where.project)
    mine = list(_mine(where.project, where.user.pk))
    makes = where.may(Role.RESEARCHER)
    told: list[dict[str, Any]] = []
    further = None
    if makes:
        try:
            found = paged(campaigns, of_query(request.GET.get("cursor", ""), PER_PAGE))
        except Refusal:
            raise Http404("there is no such page of the list; begin at its first") from None
        told, further = [progress.whole(each) for each in found["items"]], found["next"]
    context = {"mine": mine, "makes": makes, "campaigns": told, "next": further}
    return render(request, "annotation/annotate.html", context)


@never_cache
@require_safe
@page(Role.RESEARCHER)
def campaign(request: HttpRequest, name: str) -> HttpResponse:
    """How far one campaign is, by annotator."""
    found = _find(request, name)
    context = {
        "section": "annotate", "campaign": progress.whole(found), "ends": progress.ends(found),
        "project": f"?project={found.project_id}",
    }  # fmt: skip
    return render(request, "annotation/campaign.html", context)


@never_cache
@require_safe
@page(Role.ANNOTATOR)
def workspace(request: HttpRequest, name: str) -> HttpResponse:
    """One item after the other. The page itself asks for them."""
    found = _find(request, name)
    try:
        annotator = beginning.asked(found, here(request).user.pk)
    except Refusal:
        raise Http404(f"nobody asks you in a campaign {name!r}") from None
    context = {
        "section": "annotate", "campaign": found, "annotator": annotator,
        "description": found.content["stated"].get("description", ""), **progress.mine(found, annotator),
    }  # fmt: skip
    return render(request, "annotation/workspace.html", context)


def _find(request: HttpRequest, name: str) -> Campaign:
    where = here(request)
    rows = Campaign.objects.of_user(where.user).filter(project_id=where.project)
    found: Campaign | None = rows.filter(name=name).first()
    if found is None:
        raise Http404(f"there is no campaign {name!r} in this project")
    return found


def _mine(project_id: str, user: int) -> Iterator[dict[str, Any]]:
    """What asks this person, with how far they are."""
    for each, annotator in beginning.asking(project_id, user):
        about = progress.mine(each, annotator)
        total = about["done"] + about["left"]
        yield {"campaign": each, "description": each.content["stated"].get("description", ""), "total": total, **about}
