"""The queue that the agents of a project ask for work."""

from __future__ import annotations

import logging

from ...bus import streams
from ...bus.connection import BusError
from ..ground import bus_line

log = logging.getLogger("openomni.api")


def open_queue(project_id: str) -> None:
    """Makes the queue that a project's agents ask. While the bus is away it is left to the first turn's queueing."""
    try:
        bus_line.run(lambda bus: streams.work_consumer(bus, project_id), timeout=1.0)
    except (BusError, bus_line.BusAway) as error:
        log.info("the queue of project %s waits for its first turn: %s", project_id, error)
