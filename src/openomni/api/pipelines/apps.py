from __future__ import annotations

from django.apps import AppConfig


class PipelinesConfig(AppConfig):
    name = "openomni.api.pipelines"
    label = "pipelines"
    verbose_name = "Pipelines"
