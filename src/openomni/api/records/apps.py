from __future__ import annotations

from django.apps import AppConfig


class RecordsConfig(AppConfig):
    name = "openomni.api.records"
    label = "records"
    verbose_name = "Records"
