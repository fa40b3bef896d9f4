"""Which live agents can run which stage: read once, asked for as many pipelines as there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ...pipeline import spec as pipeline_spec
from .models import Agent, Offer, alive_since

Need = tuple[str, str]
"""(kind, component)"""


@dataclass(frozen=True, slots=True)
class Placing:
    """The agents of a project that take work now, by what they offer, and those of them that host sessions."""

    offers: Mapping[Need, list[Agent]]
    hosts: list[Agent]

    @classmethod
    def now(cls, project_id: str) -> Self:
        """Two queries, however many agents there are."""
        alive = list(
            Agent.objects.filter(project_id=project_id, last_seen__gt=alive_since(), draining=False).order_by("name")
        )
        by_id = {agent.pk: agent for agent in alive}
        offers: dict[Need, list[Agent]] = {}
        rows = Offer.objects.filter(agent__in=by_id).order_by("agent__name")
        for agent_id, kind, name in rows.values_list("agent_id", "kind", "name"):
            offers.setdefault((kind, name), []).append(by_id[agent_id])
        return cls(offers, [agent for agent in alive if "host" in agent.roles])

    def where(self, need: Need) -> list[Agent]:
        """The agents that offer it."""
        return self.offers.get(need, [])

    def missing(self, pipeline: pipeline_spec.Pipeline) -> list[Need]:
        """What the pipeline needs and nobody here offers."""
        return [need for need in dict.fromkeys(pipeline.needs) if need not in self.offers]

    def unplaced(self, pipeline: pipeline_spec.Pipeline, known: Mapping[Need, Any]) -> list[str]:
        """A line for each thing that nobody here offers, with what to start; what is unknown, `check` says."""
        lines = [
            f"no live agent offers {kind}:{name}; start one: openomni agent --offer {kind}:{name}"
            for kind, name in self.missing(pipeline)
            if (kind, name) in known
        ]
        if not self.hosts:
            lines.append("no live agent hosts sessions; start one: openomni agent --offer host")
        return lines
