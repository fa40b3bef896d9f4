from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count
from django.http import HttpRequest

from ..accounts.project_admin import ProjectAdmin, ProjectFilter, display
from .models import Device, Site


@admin.register(Site)
class SiteAdmin(ProjectAdmin):
    list_display = ("name", "slug", "project", "device_count", "created_at")
    search_fields = ("name", "slug")
    readonly_fields = ("created_at",)
    prepopulated_fields = {"slug": ("name",)}

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("project").annotate(devices=Count("device"))

    def get_prepopulated_fields(self, request: HttpRequest, obj: Site | None = None) -> Any:
        return {} if obj else self.prepopulated_fields

    @display(description="devices", ordering="devices")
    def device_count(self, site: Site) -> int:
        return site.devices  # type: ignore[attr-defined, no-any-return]


@admin.register(Device)
class DeviceAdmin(ProjectAdmin):
    list_display = ("name", "slug", "project", "site", "last_seen")
    list_filter = (ProjectFilter, ("site", admin.RelatedOnlyFieldListFilter))
    search_fields = ("name", "slug")
    list_select_related = ("project", "site")
    readonly_fields = ("created_at", "last_seen")
