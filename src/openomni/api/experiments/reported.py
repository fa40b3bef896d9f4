"""What reports, which stand below, are told of experiments: which cells there are, and which are warm-up."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Count

from ..ground.caller import Caller
from ..ground.errors import not_found
from ..reports.selection import Plan, PlannedCell, tells_of_experiments
from .models import Cell, Experiment


class Told:
    """`reports.selection.Experiments`."""

    def plan(self, caller: Caller, name: str) -> Plan:
        known = Experiment.objects.filter(project_id=caller.project_id)
        experiment = known.filter(name=name).first()
        if experiment is None:
            not_found("experiment", name, known.values_list("name", flat=True)[:200])
        rows = Cell.objects.filter(experiment=experiment).order_by()
        said = rows.annotate(utterances=Count("sample__utterances"))
        told = said.values_list("pk", "pipeline__name", "pipeline__hash", "session", "utterances", "repeat")
        cells = {
            key: PlannedCell(pipeline, hash_, session, max(utterances, 1), repeat == 0)
            for key, pipeline, hash_, session, utterances, repeat in told
        }
        return Plan(cells, rows.values("pk"))

    def warm_ups(self, project_id: str) -> Collection[str]:
        return Cell.objects.filter(project_id=project_id, repeat=0).values_list("pk", flat=True)


tells_of_experiments(Told())
