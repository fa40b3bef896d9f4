from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest

from ...errors import OpenOmniError
from ..accounts.models import Role
from ..accounts.project_admin import ProjectAdmin, ProjectFilter, ReadOnlyInline, display
from ..ground.errors import Refusal
from . import draining
from .models import Agent, Offer, alive_since


class Alive(admin.SimpleListFilter):
    title = "state"
    parameter_name = "alive"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "alive"), ("no", "gone")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        seen = Q(last_seen__gt=alive_since())
        return {"yes": queryset.filter(seen), "no": queryset.exclude(seen)}.get(self.value() or "", queryset)


class OfferInline(ReadOnlyInline):
    model = Offer
    fields = readonly_fields = ("kind", "name", "version", "package", "streaming", "slots", "description")


@admin.register(Agent)
class AgentAdmin(ProjectAdmin):
    """Agents describe themselves; here they are watched, drained and forgotten."""

    delete_role = Role.RESEARCHER
    list_display = ("name", "state", "project", "offer_count", "load", "sessions", "version", "health", "last_seen")
    list_filter = (ProjectFilter, Alive, "draining", "version")
    search_fields = ("name", "id", "offers__name")
    list_select_related = ("project",)
    inlines = (OfferInline,)
    actions = ("drain",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(offered=Count("offers"))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in Agent._meta.fields]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="state", label={"alive": "success", "draining": "warning", "gone": "danger"})
    def state(self, agent: Agent) -> str:
        return ("draining" if agent.draining else "alive") if agent.alive else "gone"

    @display(description="components", ordering="offered")
    def offer_count(self, agent: Agent) -> int:
        return agent.offered  # type: ignore[attr-defined, no-any-return]

    @display(description="busy")
    def load(self, agent: Agent) -> str:
        return f"{agent.busy} of {agent.slots}"

    @admin.action(description="Drain: take no new work, finish, stop", permissions=["change"])
    def drain(self, request: HttpRequest, agents: QuerySet[Agent]) -> None:
        for agent in agents:
            try:
                draining.drain(agent)
                messages.success(request, f"{agent.name} drains")
            except (Refusal, OpenOmniError) as error:
                messages.error(request, f"{agent.name}: {error}")
