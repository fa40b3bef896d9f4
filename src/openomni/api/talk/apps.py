from django.apps import AppConfig


class TalkConfig(AppConfig):
    name = "openomni.api.talk"
    label = "talk"
    verbose_name = "talk"
