from __future__ import annotations

from django.apps import AppConfig


class MediaConfig(AppConfig):
    name = "openomni.api.media"
    label = "media"
    verbose_name = "Media"

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        from ..records.models import Derived, Recording
        from ..records.signals import recording_completed
        from . import deriving, dropping

        recording_completed.connect(lambda recording, **_: deriving.tell(recording), weak=False, dispatch_uid="derive")
        for kind in (Recording, Derived):
            post_delete.connect(
                lambda instance, **_: dropping.drop(instance), sender=kind, weak=False, dispatch_uid=f"drop {kind}"
            )
