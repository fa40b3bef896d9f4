from __future__ import annotations

from django.apps import AppConfig


class QueueConfig(AppConfig):
    name = "openomni.api.queue"
    label = "queue"
    verbose_name = "Queue"
