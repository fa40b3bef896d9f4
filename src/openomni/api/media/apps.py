from __future__ import annotations

from django.apps import AppConfig


class MediaConfig(AppConfig):
    name = "openomni.api.media"
    label = "media"
    verbose_name = "Media"

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        from ..records.models import Derived
        from ..records.signals import recording_completed
        from . import deriving

        recording_completed.connect(lambda recording, **_: deriving.tell(recording), weak=False, dispatch_uid="derive")
        post_delete.connect(
            lambda instance, **_: deriving.forget(instance), sender=Derived, weak=False, dispatch_uid="derived"
        )
