"""What the API does beside answering: it writes what the bus records, notes which agents are alive, derives from
recordings, and takes deleted ones out of the store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

from django.conf import settings

log = logging.getLogger("openomni.api")


class ServerThreads:
    """The threads between `start` and `stop`. Without a bus none listens to it."""

    def __init__(self) -> None:
        self._running = ExitStack()

    def start(self) -> None:
        from .experiments import scoring
        from .media import deriving, dropping

        self._running.callback(scoring.start())
        self._running.callback(deriving.start())
        self._running.callback(dropping.start())
        if not settings.BUS_URL:
            log.warning("no bus: agents can't come in and nothing is recorded; give OPENOMNI_BUS_URL")
            return
        from .experiments import feeding
        from .fleet import presence
        from .ground import bus_line
        from .ground.bus_access import connecting
        from .queue import dead_letters, outbox, rescue
        from .records import recorder

        watches = (dead_letters.watch, outbox.watch, rescue.watch, feeding.watch)
        starts: list[Callable[[], Callable[[], None]]] = [
            lambda: bus_line.start(connecting("api")),
            lambda: recorder.start(connecting("api recorder"), *watches),
            lambda: presence.start(connecting("api fleet")),
        ]
        try:
            for start in starts:
                self._running.callback(start())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._running.close()
