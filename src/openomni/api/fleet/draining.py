"""Asks an agent, over the bus, to take no new work."""

from __future__ import annotations

from ..ground import bus_line
from ..ground.errors import conflict
from .models import Agent


def drain(agent: Agent) -> None:
    """Returns when the agent has taken it. Raises `Refusal` (409) when it is gone, `BusAway` when the bus is."""
    from ...bus import subjects
    from ...bus.connection import NoAnswer

    subject = subjects.drain(agent.project_id, agent.pk)
    try:
        bus_line.run(lambda bus: bus.request(subject))
    except NoAnswer:
        conflict(f"{agent.name} does not answer; it is gone or was never there")
    agent.draining = True
    agent.save(update_fields=["draining"])
