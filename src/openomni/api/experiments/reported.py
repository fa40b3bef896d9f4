"""What reports, which stand below, are told of experiments: which cells there are, and which are warm-up."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Count, Exists, OuterRef

from ..ground.caller import Caller
from ..reports.selection import Plan, PlannedCell, tells_of_experiments
from . import played
from .finding import find
from .models import Cell


class Told:
    """`reports.selection.Experiments`."""

    def plan(self, caller: Caller, name: str) -> Plan:
        rows = Cell.objects.filter(experiment=find(caller, name)).order_by()
        spoken = played.spoken_of(rows)
        said = rows.annotate(utterances=Count("sample__utterances"))
        told = said.values_list("pk", "pipeline__name", "pipeline__hash", "session", "utterances", "repeat", "status")
        cells = {
            key: PlannedCell(
                pipeline,
                hash_,
                session,
                spoken.get(key, max(utterances, 1)),
                repeat == 0,
                status if status in Cell.LEFT else "missing",
            )
            for key, pipeline, hash_, session, utterances, repeat, status in told
        }
        return Plan(cells, rows.values("pk"))

    def warm_ups(self, project_id: str) -> Collection[str]:
        return Cell.objects.filter(project_id=project_id, repeat=0).values_list("pk", flat=True)

    def given_up(self) -> Exists:
        counting = Cell.objects.filter(pk=OuterRef("cell")).order_by()
        return Exists(counting.exclude(session__in=("", OuterRef("session_id"))))


tells_of_experiments(Told())
