from __future__ import annotations

from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "openomni.api.annotation"
    label = "annotation"
    verbose_name = "Annotation"
