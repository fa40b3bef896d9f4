from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from ..accounts.project_admin import ProjectFilter, display
from ..records.evidence_admin import EvidenceAdmin, values_filter
from ..records.models import Recording
from ..records.players import player
from .schemas import RecordingOut


@admin.register(Recording)
class RecordingAdmin(EvidenceAdmin):
    list_display = ("short_id", "listen", "kind", "status", "length", "size", "device", "session", "created_at")
    list_filter = (ProjectFilter, "kind", "status", values_filter("device", "device"), "created_at")
    search_fields = ("id", "session__id", "turn_id", "source")
    list_select_related = ("session",)
    records_name = "recordings"
    fields = (
        *("listen", "kind", "media_type", "status", "length", "size", "rate", "samples", "position"),
        *("session", "turn_id", "site", "device", "source", "sha256", "started_at", "completed_at", "created_at"),
        "project",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Recording]:
        return super().get_queryset(request).prefetch_related("derived")  # type: ignore[no-any-return]

    def record(self, row: Recording) -> dict[str, Any]:
        return RecordingOut.from_orm(row).model_dump()

    @display(description="media")
    def listen(self, recording: Recording) -> SafeString:
        return player(recording)

    @display(description="seconds")
    def length(self, recording: Recording) -> str:
        return "" if recording.seconds is None else f"{recording.seconds:.1f}"

    @display(description="received", ordering="received")
    def size(self, recording: Recording) -> str:
        return f"{recording.received / 1024:,.0f} KiB"
