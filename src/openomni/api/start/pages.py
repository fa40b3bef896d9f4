"""The first page, and the part of it that is refreshed: whether everything is well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ..accounts.models import Role
from ..fleet.models import Agent, alive_since
from ..look.project_page import Here, here, page
from ..records.models import Recording, Session, Turn
from . import checks

SHOWN = 5
"""How many agents and conversations the first page names."""

COUNTED_FOR = 60
"""Seconds for which the size of all recordings is taken for known: 100,000 of them take 40 ms to add up."""


@dataclass(frozen=True, slots=True)
class Data:
    """Where everything is. Paths of the server are for owners; others see how much there is."""

    media_bytes: int
    recordings: int
    folder: str = ""
    database: str = ""

    @property
    def media_size(self) -> str:
        return checks.size(self.media_bytes)


@never_cache
@require_safe
@page(None)
def home(request: HttpRequest) -> HttpResponse:
    where = here(request)
    reads = where.may(Role.VIEWER)
    server = _server(request)
    context = {
        "health": checks.look(where.project, server),
        "replay": f"OPENOMNI_TOKEN=oo_… openomni listen --source file:interview.mp4 --wait --server {server}",
        "https": request.is_secure(),
        "plain_http": not _has_microphone(request),
        "agents": _agents(where.project),
        "alive": Agent.objects.filter(project_id=where.project, last_seen__gt=alive_since()).count(),
        "conversations": _conversations(where.project) if reads else [],
        "data": _data(where),
        "reads": reads,
        "owner": where.may(Role.OWNER),
        "may_talk": where.may(Role.RESEARCHER),
    }
    return render(request, "start/home.html", context)


@never_cache
@require_safe
@page(None)
def health(request: HttpRequest) -> HttpResponse:
    """The part of the first page that says whether everything is well, by itself."""
    return render(request, "start/health_now.html", {"health": checks.look(here(request).project, _server(request))})


def _server(request: HttpRequest) -> str:
    """This server's address, as the person reached it."""
    return f"{request.scheme}://{request.get_host()}"


def _has_microphone(request: HttpRequest) -> bool:
    """Whether a browser gives a page at this address the microphone: over HTTPS, or on the machine itself."""
    name = request.get_host().rpartition(":")[0] if not request.get_host().endswith("]") else request.get_host()
    return request.is_secure() or (name or request.get_host()) in ("localhost", "127.0.0.1", "[::1]")


def _agents(project: str) -> QuerySet[Agent]:
    """Those that were seen last; each with the number of components that it offers."""
    seen = Agent.objects.filter(project_id=project, last_seen__isnull=False)
    return seen.annotate(offered=Count("offers")).order_by("-last_seen")[:SHOWN]


def _conversations(project: str) -> list[dict[str, Any]]:
    """The newest sessions: what was said first in each, and how many turns it had."""
    first = Turn.objects.filter(session=OuterRef("pk")).exclude(transcript="").order_by("index")
    newest = Session.objects.filter(project_id=project).exclude(pipeline="").exclude(origin="experiment")
    newest = newest.order_by("-created_at", "id")
    rows = newest.annotate(said=Subquery(first.values("transcript")[:1]))[:SHOWN]
    counts = dict(
        Turn.objects.filter(session__in=[row.pk for row in rows])
        .order_by()
        .values_list("session")
        .annotate(turns=Count("pk"))
    )
    return [
        {
            "address": reverse("conversation", args=[row.pk]),
            "session": row,
            "said": row.said or "",
            "turns": counts.get(row.pk, 0),
        }
        for row in rows
    ]


def _data(where: Here) -> Data:
    key = f"held-{where.project}"
    if (held := cache.get(key)) is None:
        cache.set(key, held := _held(where.project), COUNTED_FOR)
    figures = {"recordings": held[0], "media_bytes": held[1]}
    if not where.may(Role.OWNER):
        return Data(**figures)
    return Data(**figures, folder=str(settings.DATA_DIR), database=_database())


def _held(project: str) -> tuple[int, int]:
    """How many recordings, and their bytes."""
    held = Recording.objects.filter(project_id=project).aggregate(count=Count("pk"), received=Sum("received"))
    return held["count"], held["received"] or 0


def _database() -> str:
    """Which database it is, and how large where that is known at once."""
    if connection.vendor != "sqlite":
        place = connection.settings_dict
        return f"PostgreSQL, {place['NAME']} at {place['HOST'] or 'this machine'}"
    name = Path(str(connection.settings_dict["NAME"]))
    files = [file for file in (name, name.with_name(f"{name.name}-wal")) if file.exists()]
    return f"{name.name}, {checks.size(sum(file.stat().st_size for file in files))}"
