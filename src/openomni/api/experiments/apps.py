from __future__ import annotations

from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    name = "openomni.api.experiments"
    label = "experiments"
    verbose_name = "Experiments"

    def ready(self) -> None:
        from . import reported  # noqa: F401 (it tells reports of experiments)
