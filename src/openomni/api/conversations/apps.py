from __future__ import annotations

from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "openomni.api.conversations"
    label = "conversations"
    verbose_name = "Conversations"
