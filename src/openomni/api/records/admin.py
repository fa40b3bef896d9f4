from __future__ import annotations

from typing import Any

import msgspec
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

from ...events import AXIS_RATE
from ..accounts.project_admin import ProjectFilter, display
from . import players, snapshots, waterfall
from .evidence_admin import EvidenceAdmin, EvidenceInline, values_filter
from .models import Attempt, Recording, Segment, Session, Task, TimePoint, Turn
from .players import content_url, player

SHOWN = 90
"""Letters of what was said that a list shows."""
STATUS = {
    "completed": "success",
    "closed": "success",
    "failed": "danger",
    "lost": "danger",
    "started": "info",
    "open": "info",
    "cancelled": "warning",
    "superseded": "warning",
}


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f}"


class TurnInline(EvidenceInline):
    model = Turn
    fields = readonly_fields = ("index", "status", "transcript", "reply_text", "voice_to_voice_s", "interrupted")
    ordering = ("index",)
    show_change_link = True
    per_page = 50


@admin.register(Session)
class SessionAdmin(EvidenceAdmin):
    list_display = ("short_id", "pipeline", "shown_status", "turn_count", "device", "site", "source", "started_at")
    list_filter = (
        ProjectFilter,
        values_filter("pipeline", "pipeline"),
        "status",
        values_filter("device", "device"),
        "created_at",
    )
    search_fields = ("id", "pipeline", "source")
    inlines = (TurnInline,)
    records_name = "sessions"
    fields = (
        *("id", "pipeline", "pipeline_hash", "status", "reason", "site", "device", "source", "sound"),
        *("started_at", "ended_at", "created_at", "version", "spec", "project"),
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        return super().get_queryset(request).annotate(turn_count=Count("turns"))  # type: ignore[no-any-return]

    def record(self, row: Session) -> dict[str, Any]:
        return msgspec.to_builtins(snapshots.session_record(row))  # type: ignore[no-any-return]

    @display(description="status", ordering="status", label=STATUS)
    def shown_status(self, session: Session) -> str:
        return session.status

    @display(description="turns", ordering="turn_count")
    def turn_count(self, session: Session) -> int:
        return session.turn_count  # type: ignore[attr-defined, no-any-return]

    @display(description="recordings")
    def sound(self, session: Session) -> SafeString:
        found = ((each.kind, player(each)) for each in session.recorded.prefetch_related("derived"))
        return format_html_join(mark_safe("<br>"), "{} {}", found)


class TaskInline(EvidenceInline):
    model = Task
    show_change_link = True
    fields = readonly_fields = (
        *("kind", "component", "agent", "status", "queue", "transfer", "load", "model_time", "ttfb", "tries"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        return super().get_queryset(request).prefetch_related("attempts")  # type: ignore[no-any-return]

    @display(description="queue ms")
    def queue(self, task: Task) -> str:
        return _milliseconds(task.queue_s)

    @display(description="transfer ms")
    def transfer(self, task: Task) -> str:
        return _milliseconds(task.transfer_s)

    @display(description="load ms")
    def load(self, task: Task) -> str:
        return _milliseconds(task.load_s)

    @display(description="model ms")
    def model_time(self, task: Task) -> str:
        return _milliseconds(task.model_s)

    @display(description="TTFB ms")
    def ttfb(self, task: Task) -> str:
        return _milliseconds(task.ttfb_s)

    @display(description="attempts")
    def tries(self, task: Task) -> SafeString:
        lines = ((each.number, each.agent, each.status, each.reason) for each in task.attempts.all())
        return format_html_join(mark_safe("<br>"), "{}. {} {} {}", lines)


class TimePointInline(EvidenceInline):
    model = TimePoint
    fields = readonly_fields = ("name", "at_s", "where", "uncertainty_s")


class SegmentInline(EvidenceInline):
    model = Segment
    fields = readonly_fields = ("speaker", "start", "end")


@admin.register(Turn)
class TurnAdmin(EvidenceAdmin):
    list_display = (
        *("short_id", "place", "pipeline", "shown_status", "shown_transcript", "shown_reply", "voice_to_voice"),
        *("quick_reply", "interrupted", "created_at"),
    )
    list_filter = (
        *(ProjectFilter, values_filter("pipeline", "pipeline"), "status", values_filter("device", "session__device")),
        *("interrupted", "created_at"),
    )
    search_fields = ("id", "session__id", "transcript", "reply_text")
    list_select_related = ("session",)
    inlines = (TaskInline, TimePointInline, SegmentInline)
    records_name = "turns"
    prefetch_export = snapshots.COMPLETE_TURN
    fields = (
        *("timeline", "shown_status", "reason", "question", "transcript", "reply", "reply_text", "voice_to_voice"),
        *("heard_at", "residue", "interrupted", "session", "index", "pipeline", "pipeline_hash"),
        *("started_at", "created_at", "version", "project"),
    )
    readonly_fields = fields

    def record(self, row: Turn) -> dict[str, Any]:
        return msgspec.to_builtins(snapshots.turn_record(row))  # type: ignore[no-any-return]

    @display(description="transcript", ordering="transcript")
    def shown_transcript(self, turn: Turn) -> str:
        return Truncator(turn.transcript).chars(SHOWN)

    @display(description="reply text", ordering="reply_text")
    def shown_reply(self, turn: Turn) -> str:
        return Truncator(turn.reply_text).chars(SHOWN)

    @display(description="session")
    def place(self, turn: Turn) -> SafeString:
        url = reverse("admin:records_session_change", args=[turn.session_id])
        return format_html('<a href="{}">{} · {}</a>', url, turn.session, turn.index)

    @display(description="status", ordering="status", label=STATUS)
    def shown_status(self, turn: Turn) -> str:
        return turn.status

    @display(description="voice to voice", ordering="voice_to_voice_s")
    def voice_to_voice(self, turn: Turn) -> str:
        return "" if turn.voice_to_voice_s is None else f"{turn.voice_to_voice_s:.3f} s"

    @display(description="residue")
    def residue(self, turn: Turn) -> str:
        return "" if turn.residue_s is None else f"{_milliseconds(turn.residue_s)} ms"

    @display(description="reply audio")
    def reply(self, turn: Turn) -> SafeString | str:
        return player(_recording(turn, turn.reply_audio)) if turn.reply_audio else ""

    @display(description="reply audio")
    def quick_reply(self, turn: Turn) -> SafeString | str:
        """Without a look at the recording's row, which a list would take for each line."""
        return players.sound(content_url(turn.project_id, turn.reply_audio)) if turn.reply_audio else ""

    @display(description="question")
    def question(self, turn: Turn) -> SafeString | str:
        """The turn's own stretch of the session's recording."""
        if not turn.recording:
            return ""
        spoken = list(turn.segments.all())
        start = min((each.start for each in spoken), default=None)
        end = max((each.end for each in spoken), default=None)
        seconds = (None, None) if start is None or end is None else (start / AXIS_RATE, end / AXIS_RATE)
        return player(_recording(turn, turn.recording), *seconds)

    @display(description="timeline")
    def timeline(self, turn: Turn) -> SafeString:
        return mark_safe(waterfall.draw(snapshots.turn_record(turn)))  # noqa: S308 (Django rendered it)


def _recording(turn: Turn, key: str) -> Recording | None:
    found: Recording | None = Recording.objects.filter(project_id=turn.project_id, pk=key).first()
    return found


class AttemptInline(EvidenceInline):
    model = Attempt
    fields = readonly_fields = ("number", "agent", "status", "reason", "started_s", "ended_s")


@admin.register(Task)
class TaskAdmin(EvidenceAdmin):
    list_display = ("id", "kind", "component", "agent", "shown_status", "model_s", "ttfb_s", "turn")
    list_filter = (
        *(ProjectFilter, values_filter("kind", "kind"), values_filter("component", "component"), "status"),
        values_filter("pipeline", "turn__pipeline"),
    )
    search_fields = ("task_id", "turn__id", "component", "agent", "reason")
    list_select_related = ("turn",)
    date_hierarchy = None
    inlines = (AttemptInline,)
    records_name = "tasks"
    prefetch_export = ("attempts",)
    fields = (
        *("turn", "task_id", "kind", "component", "revision", "agent", "status", "reason", *snapshots.TIMES),
        *("output", "project"),
    )
    readonly_fields = fields

    def record(self, row: Task) -> dict[str, Any]:
        plain: dict[str, Any] = msgspec.to_builtins(snapshots.stage_record(row))
        return {"turn_id": row.turn_id, **plain}

    @display(description="status", ordering="status", label=STATUS)
    def shown_status(self, task: Task) -> str:
        return task.status
