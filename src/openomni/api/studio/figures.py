"""How pipelines did so far: sessions, turns and median voice-to-voice. What was interrupted counts for no median."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db.models import Count, QuerySet

from ...latency import median
from ..records.models import Progress, Session, Turn

NEWEST = 2000
"""Turns of a project that medians are taken over: the newest."""


@dataclass(slots=True)
class Figures:
    """Of a pipeline or a version; seconds. `median_s` is None without a turn that was measured."""

    sessions: int = 0
    voice_to_voice: list[float] = field(default_factory=list)

    @property
    def turns(self) -> int:
        """How many were measured."""
        return len(self.voice_to_voice)

    @property
    def median_s(self) -> float | None:
        return median(self.voice_to_voice)


def of_pipelines(project_id: str) -> dict[str, Figures]:
    """By name."""
    return _figures(Session.objects.filter(project_id=project_id), _turns(project_id), "pipeline")


def of_versions(project_id: str, name: str) -> dict[str, Figures]:
    """By hash."""
    sessions = Session.objects.filter(project_id=project_id, pipeline=name)
    return _figures(sessions, _turns(project_id).filter(pipeline=name), "pipeline_hash")


def _turns(project_id: str) -> QuerySet[Turn]:
    return Turn.objects.filter(
        project_id=project_id, status=Progress.COMPLETED, interrupted=False, voice_to_voice_s__isnull=False
    ).order_by("-created_at")


def _figures(sessions: QuerySet[Session], turns: QuerySet[Turn], by: str) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    for row in sessions.order_by().values(by).annotate(count=Count("pk")):
        found.setdefault(row[by], Figures()).sessions = row["count"]
    for key, seconds in turns.values_list(by, "voice_to_voice_s")[:NEWEST]:
        found.setdefault(key, Figures()).voice_to_voice.append(seconds)
    return found
