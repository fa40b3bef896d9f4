from django.apps import AppConfig


class LookConfig(AppConfig):
    name = "openomni.api.look"
    label = "look"
    verbose_name = "look"
