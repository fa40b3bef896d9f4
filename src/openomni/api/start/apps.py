from django.apps import AppConfig


class StartConfig(AppConfig):
    name = "openomni.api.start"
    label = "start"
    verbose_name = "start"
