"""The admin's sidebar: our pages first, then the tables."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from ..accounts.roles import roles_in
from .project_page import here, pages_for


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Our pages first, then the tables that the person may see, as django-unfold wants them."""
    shown = pages_for(here(request)) if roles_in(request) else []
    pages = [{"title": text, "link": reverse(name), "active": name == _here(request)} for name, text in shown]
    tables = [
        {
            "title": group["name"],
            "separator": True,
            "items": [
                {"title": table["name"], "link": table["admin_url"]} for table in group["models"] if table["admin_url"]
            ],
        }
        for group in admin.site.get_app_list(request)
    ]
    return [{"items": pages}, *tables]


def _here(request: HttpRequest) -> str:
    match = request.resolver_match
    return match.view_name if match else ""
