from __future__ import annotations

from django.apps import AppConfig


class PlacesConfig(AppConfig):
    name = "openomni.api.places"
    label = "places"
    verbose_name = "Places"
