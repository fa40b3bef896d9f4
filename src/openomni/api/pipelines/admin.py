from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import Count
from django.http import HttpRequest
from django.utils.html import format_html

from ..accounts.project_admin import ProjectAdmin, ProjectFilter, ReadOnlyInline, display
from .models import Pipeline, PipelineVersion


class VersionInline(ReadOnlyInline):
    model = PipelineVersion
    fields = readonly_fields = ("number", "hash", "created_at")
    show_change_link = True
    per_page = 20


@admin.register(Pipeline)
class PipelineAdmin(ProjectAdmin):
    """A pipeline's content is written in the editor of its page, or over REST, where it is checked."""

    list_display = ("name", "project", "description", "current", "version_count", "created_at")
    search_fields = ("name", "description", "versions__hash")
    list_select_related = ("project", "current")
    readonly_fields = ("name", "current", "created_at")
    inlines = (VersionInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(contents=Count("versions"))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="versions", ordering="contents")
    def version_count(self, pipeline: Pipeline) -> int:
        return pipeline.contents  # type: ignore[attr-defined, no-any-return]


@admin.register(PipelineVersion)
class PipelineVersionAdmin(ProjectAdmin):
    list_display = ("__str__", "pipeline", "project", "created_at", "created_by")
    list_filter = (ProjectFilter, ("pipeline", admin.RelatedOnlyFieldListFilter))
    search_fields = ("hash", "pipeline__name")
    list_select_related = ("project", "pipeline", "created_by")
    fields = readonly_fields = ("pipeline", "number", "hash", "created_at", "created_by", "content")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="content")
    def content(self, version: PipelineVersion) -> str:
        text = version.text or json.dumps(version.spec, indent=2, ensure_ascii=False)
        return format_html("<pre class='whitespace-pre-wrap'>{}</pre>", text)
