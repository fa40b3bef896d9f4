from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "openomni.api.accounts"
    label = "accounts"
    verbose_name = "Accounts"
