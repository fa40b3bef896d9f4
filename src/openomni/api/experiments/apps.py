from __future__ import annotations

from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    name = "openomni.api.experiments"
    label = "experiments"
    verbose_name = "Experiments"

    def ready(self) -> None:
        from . import erased_scores, reported  # noqa: F401 (they listen to rows that go, and tell reports of experiments)
