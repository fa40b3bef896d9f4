from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q
from django.http import HttpRequest

from ..accounts.models import Role
from ..accounts.project_admin import ProjectAdmin, ProjectFilter, ProjectInline, display
from .models import Consent, Participant


class ConsentInline(ProjectInline):
    model = Consent


@admin.register(Participant)
class ParticipantAdmin(ProjectAdmin):
    view_role = Role.RESEARCHER
    list_display = ("code", "name", "project", "site", "consent_count", "created_at")
    list_filter = (ProjectFilter, ("site", admin.RelatedOnlyFieldListFilter))
    search_fields = ("code", "name")
    list_select_related = ("project", "site")
    readonly_fields = ("created_at",)
    inlines = (ConsentInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        in_force = Count("consents", filter=Q(consents__withdrawn_at=None))
        return super().get_queryset(request).annotate(in_force=in_force)

    @display(description="consents in force", ordering="in_force")
    def consent_count(self, participant: Participant) -> int:
        return participant.in_force  # type: ignore[attr-defined, no-any-return]
