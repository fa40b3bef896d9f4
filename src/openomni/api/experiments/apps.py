from __future__ import annotations

from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    name = "openomni.api.experiments"
    label = "experiments"
    verbose_name = "Experiments"

    def ready(self) -> None:
        from ..records import signals
        from . import (
            calling,
            erased_scores,  # noqa: F401 (it listens to rows that go)
            reported,  # noqa: F401 (it tells reports of experiments)
            settling,
        )

        signals.turn_written.connect(settling.turn_was_written, dispatch_uid="experiments")
        signals.turn_failed.connect(settling.turn_failed, dispatch_uid="experiments")
        signals.cell_written.connect(calling.was_played, dispatch_uid="experiments")
