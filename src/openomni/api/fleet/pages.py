"""The pages of the fleet: all agents, one in depth, and draining one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from ...errors import OpenOmniError
from ...version import __version__
from ..accounts.models import Role
from ..ground.errors import Refusal
from ..look.project_page import here, page
from ..records.models import Task
from . import draining, overview
from .models import Agent, Offer
from .parameters import parameters

TASKS = 200
"""Of an agent, the newest, for medians; the page lists the first `LISTED`."""
LISTED = 30


@page(None)
@require_safe
def agents(request: HttpRequest) -> HttpResponse:
    """Every agent of the project; `?part` gives what refreshes by itself alone."""
    project = here(request).project
    # What an offer says of itself is long, and not shown here.
    offers = Prefetch("offers", Offer.objects.defer("schema", "description"))
    rows = Agent.objects.filter(project_id=project).prefetch_related(offers)
    found = overview.cards(project, rows)
    alive = [card for card in found if card.state == "alive"]
    context = {
        "cards": found,
        "alive": len(alive),
        "busy": sum(card.agent.busy for card in alive),
        "slots": sum(card.agent.slots for card in alive),
        "sessions": sum(card.agent.sessions for card in alive),
        "hosts": sum("host" in card.agent.roles for card in alive),
        "bus_fault": overview.bus_fault(),
        **_common(request),
    }
    return render(request, "fleet/_agents.html" if "part" in request.GET else "fleet/agents.html", context)


@page(Role.VIEWER)
@require_safe
def agent(request: HttpRequest, agent_id: str) -> HttpResponse:
    """One agent in depth; `?part` as above."""
    project, found = here(request).project, _find(request, agent_id)
    rows = Task.objects.filter(project_id=project, agent=found.name, turn__isnull=False).select_related("turn")
    tasks = list(rows.order_by("-pk")[:TASKS])  # by when they were recorded, which an index has in order
    context = {
        "card": overview.cards(project, [found])[0],
        "offered": [(offer, parameters(offer.schema)) for offer in found.offers.all()],
        "tasks": tasks,
        "task_rows": [overview.line(task) for task in tasks[:LISTED]],
        "times": overview.times(tasks),
        "failures": overview.failures(project, [found.name])[:20],
        "bus_fault": overview.bus_fault(),
        **_common(request),
    }
    return render(request, "fleet/_agent.html" if "part" in request.GET else "fleet/agent.html", context)


@page(Role.RESEARCHER)
@require_http_methods(["GET", "POST"])
def drain(request: HttpRequest, agent_id: str) -> HttpResponse:
    """Asks whether it is meant, then drains."""
    found = _find(request, agent_id)
    if request.method != "POST":
        return render(
            request, "fleet/drain.html", {"card": overview.cards(found.project_id, [found])[0], **_common(request)}
        )
    try:
        draining.drain(found)
        messages.success(request, f"{found.name} drains: it takes nothing new, finishes what it has, and stops.")
    except (Refusal, OpenOmniError) as error:
        messages.error(request, f"{found.name} was not drained: {error}")
    return redirect("agent", agent_id=found.pk)


def _find(request: HttpRequest, agent_id: str) -> Agent:
    found = Agent.objects.filter(project_id=here(request).project, pk=agent_id).prefetch_related("offers").first()
    if found is None:
        raise Http404("there is no such agent in this project; it was forgotten, or belongs to another project")
    return found


def _common(request: HttpRequest) -> dict[str, Any]:
    return {
        "section": "agents",
        "start_command": f"OPENOMNI_TOKEN=oo_… openomni agent --server {request.build_absolute_uri('/').rstrip('/')}",
        "token_command": f"openomni api token create --scope agent --project {here(request).project}",
        "loopback": request.get_host().startswith(("127.", "localhost", "[::1]")),
        "server_version": __version__,
        "may_drain": here(request).may(Role.RESEARCHER),
    }
