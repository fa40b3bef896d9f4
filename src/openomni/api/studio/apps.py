from __future__ import annotations

from django.apps import AppConfig


class StudioConfig(AppConfig):
    name = "openomni.api.studio"
    label = "studio"
    verbose_name = "Studio"
