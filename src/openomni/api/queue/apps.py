from __future__ import annotations

from django.apps import AppConfig


class QueueConfig(AppConfig):
    name = "openomni.api.queue"
    label = "queue"
    verbose_name = "Queue"

    def ready(self) -> None:
        from ..records.signals import broken_off, turn_lost, turn_written
        from . import following, rescue

        turn_written.connect(following.turn_was_written, dispatch_uid="queue")
        turn_lost.connect(rescue.turn_is_lost, dispatch_uid="queue")
        broken_off.connect(rescue.was_broken_off, dispatch_uid="queue")
