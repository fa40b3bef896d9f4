from __future__ import annotations

from django.apps import AppConfig


class QueueConfig(AppConfig):
    name = "openomni.api.queue"
    label = "queue"
    verbose_name = "Queue"

    def ready(self) -> None:
        from ..records.signals import turn_written
        from . import following

        turn_written.connect(following.turn_was_written, dispatch_uid="queue")
