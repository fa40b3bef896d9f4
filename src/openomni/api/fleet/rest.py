from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Q
from django.utils import timezone
from ninja import Field, Query, Router, Schema, Status

from ...components.kinds import KINDS
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground import bus_access
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import Refusal, conflict, not_found
from ..ground.fields import Name, NewName, OneOf, PartMessage, Text
from ..ground.paging import Page, Paging, page
from . import draining, work_queue
from .models import Agent, Offer, alive_since

router = Router(tags=["fleet"])
READERS = allow(Scope.AGENT, Scope.VIEWER, Scope.ANNOTATOR)
AGENTS = allow(Scope.AGENT, whole=True)
"""An agent may be given any conversation of the project."""
KEEPERS = allow(Scope.RESEARCHER, whole=True)
Slots = Annotated[int, Field(ge=0, le=10_000)]


class Offering(PartMessage):
    """A component that an agent offers; `schema` is the JSON Schema of its parameters."""

    kind: Annotated[str, OneOf("kind", *KINDS)]
    name: NewName
    version: str = Field("", max_length=80)
    package: Name = ""
    # Pydantic's models have a method `schema`, so the field is called otherwise here.
    parameters: dict[str, Any] = Field({}, alias="schema")
    description: Text = ""
    streaming: bool = False
    slots: Slots = 1


class Registration(PartMessage):
    """An agent as it describes itself. `public_key` is its user key on the bus; its seed stays with the agent."""

    name: NewName
    public_key: Name
    machine: dict[str, Any] = {}
    accelerators: list[Any] = []
    components: list[Offering] = []
    roles: list[Name] = []
    slots: Slots = 1
    version: str = Field("", max_length=40)


class KeyOnly(PartMessage):
    public_key: Name


class BusCredentials(Schema):
    jwt: str
    expires_at: float = Field(description="Unix time")
    inbox_prefix: str


class BusAccessOut(BusCredentials):
    urls: list[str]


class Registered(Schema):
    agent_id: str
    project: str
    bus: BusAccessOut


class OfferedComponentIn(Schema):
    """What an agent offers, as it registered it."""

    kind: str
    name: str
    version: str
    package: str
    parameters: dict[str, Any] = Field(validation_alias="schema", serialization_alias="schema")
    description: str
    streaming: bool
    slots: int


class AgentOut(Schema):
    id: str
    name: str
    alive: bool
    draining: bool
    health: str
    roles: list[str]
    slots: int
    busy: int
    sessions: int
    version: str
    machine: dict[str, Any]
    accelerators: list[Any]
    components: list[OfferedComponentIn] = Field(validation_alias="offers")
    registered_at: datetime
    last_seen: datetime | None


class ComponentOut(Schema):
    """A component that some agent of the project registered, and how many live agents offer it now."""

    kind: str
    name: str
    version: str
    package: str
    description: str
    parameters: dict[str, Any] = Field(validation_alias="schema", serialization_alias="schema")
    streaming: bool
    agents: int


@router.post("/agents", auth=AGENTS, response=Registered, summary="Register an agent", openapi_extra=also(409))
def register(request: AuthedRequest, payload: Registration) -> dict[str, Any]:
    """Known by its name in the project: registering again updates it and replaces what it offers."""
    _need_bus()
    described = payload.dict(include={"machine", "accelerators", "roles", "slots", "version"})
    now = timezone.now()
    with transaction.atomic():
        agent, _ = Agent.objects.update_or_create(
            project_id=request.auth.project_id,
            name=payload.name,
            defaults={**described, "registered_at": now, "last_seen": now, "draining": False, "health": ""},
        )
        # Checked before anything is kept: a malformed key must not leave an agent behind.
        credentials = bus_access.for_agent(request, agent.pk, payload.public_key)
        _offer(agent, payload.components)
    if "host" in payload.roles:
        work_queue.open_queue(agent.project_id)
    return {
        "agent_id": agent.pk,
        "project": agent.project_id,
        "bus": {**_plain(credentials), "urls": bus_access.urls(request)},
    }


def _offer(agent: Agent, components: list[Offering]) -> None:
    offers = {
        (each.kind, each.name): Offer(project_id=agent.project_id, agent=agent, schema=each.parameters, **fields)
        for each in components
        for fields in [each.dict(exclude={"parameters"})]
    }
    agent.offers.all().delete()
    Offer.objects.bulk_create(offers.values())


@router.post("/agents/{agent_id}/credentials", auth=AGENTS, response=BusCredentials, summary="Renew bus credentials")
def renew(request: AuthedRequest, agent_id: str, payload: KeyOnly) -> dict[str, Any]:
    _need_bus()
    return _plain(bus_access.for_agent(request, _find(request, agent_id).pk, payload.public_key))


@router.get("/agents", auth=READERS, response=Page[AgentOut], by_alias=True, summary="The project's agents")
def list_agents(request: AuthedRequest, paging: Query[Paging], alive: bool | None = None) -> dict[str, Any]:
    rows = Agent.objects.scoped(request).prefetch_related("offers")
    if alive is not None:
        seen = Q(last_seen__gt=alive_since())
        rows = rows.filter(seen) if alive else rows.exclude(seen)
    return page(rows, paging, "name")


@router.get("/agents/{agent_id}", auth=READERS, response=AgentOut, by_alias=True, summary="One agent")
def get_agent(request: AuthedRequest, agent_id: str) -> Agent:
    return _find(request, agent_id)


@router.delete(
    "/agents/{agent_id}", auth=KEEPERS, response={204: None}, summary="Forget an agent", openapi_extra=also(409)
)
def forget(request: AuthedRequest, agent_id: str) -> Any:
    agent = _find(request, agent_id)
    if agent.alive:
        conflict(f"{agent.name} is alive; drain it first: POST /api/v1/agents/{agent_id}/drain")
    agent.delete()
    return Status(204, None)


@router.post(
    "/agents/{agent_id}/drain",
    auth=KEEPERS,
    response={202: AgentOut},
    by_alias=True,
    summary="Drain an agent",
    openapi_extra=also(409),
)
def drain(request: AuthedRequest, agent_id: str) -> Any:
    """Asks the agent to take no new work, finish what it has, and stop."""
    _need_bus()
    agent = _find(request, agent_id)
    draining.drain(agent)
    return Status(202, agent)


@router.get(
    "/components",
    auth=allow(Scope.DEVICE, Scope.AGENT, Scope.VIEWER, Scope.ANNOTATOR),
    response=Page[ComponentOut],
    by_alias=True,
    summary="What agents offer",
)
def list_components(request: AuthedRequest, kind: Annotated[str, OneOf("kind", "", *KINDS)] = "") -> dict[str, Any]:
    """What the project's agents registered, the newest registration of each."""
    rows = Offer.objects.scoped(request)
    if kind:
        rows = rows.filter(kind=kind)
    counted = rows.values("kind", "name").annotate(
        newest=Max("pk"), agents=Count("pk", filter=Q(agent__last_seen__gt=alive_since()))
    )
    agents = {row["newest"]: row["agents"] for row in counted}
    found = list(Offer.objects.filter(pk__in=agents).order_by("kind", "name"))
    for offer in found:
        offer.agents = agents[offer.pk]  # type: ignore[attr-defined]
    return {"items": found, "next": None}


def _find(request: AuthedRequest, agent_id: str) -> Agent:
    rows = Agent.objects.scoped(request).prefetch_related("offers")
    agent = rows.filter(pk=agent_id).first()
    if agent is None:
        not_found("agent", agent_id)
    return agent


def _need_bus() -> None:
    if not settings.BUS_URL:
        raise Refusal(503, "this server runs without a bus; start it with openomni up, or give it OPENOMNI_BUS_URL")


def _plain(credentials: Any) -> dict[str, Any]:
    return {"jwt": credentials.jwt, "expires_at": credentials.expires_at, "inbox_prefix": credentials.inbox_prefix}
