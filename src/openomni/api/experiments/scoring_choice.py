"""Under which metrics an experiment is scored where nobody names them."""

from __future__ import annotations

from collections.abc import Sequence

from ...components.kinds import KINDS
from ..datasets.models import DatasetSample
from ..records.models import Task
from .models import Cell, Experiment, Pace

LOOKED_AT = 500
"""Samples that are looked at for references."""


def chosen(experiment: Experiment, names: Sequence[str] = ()) -> list[str]:
    """Those that were named, each once; else those that the experiment states; else those that fit: what its pace
    measures, what its dataset has references for, and the stages that its pipelines have. Metrics that load a model
    are for those who ask."""
    return list(dict.fromkeys(names or experiment.metrics or fitting(experiment)))


def fitting(experiment: Experiment) -> list[str]:
    live = experiment.pace == Pace.REALTIME
    cells = Cell.objects.filter(experiment=experiment)
    tasks = Task.objects.filter(project_id=experiment.project_id, turn__cell__in=cells.values("pk"))
    ran = set(tasks.order_by().values_list("kind", flat=True).distinct())
    kinds = [kind.name for kind in KINDS.values() if kind.stage and kind.name in ran]
    texts, answers = _references(experiment)
    found = ["voice_to_voice_s"] if live else ["turn_s"]
    found += ["wer", "cer"] if texts and "stt" in kinds else []
    found += ["answer_rate"] if answers else []
    found += [
        "unanswered_rate",
        *(("on_time_rate", "early_rate", "late_rate", "cut_rate", "yield_s") if live else ()),
        "rtf",
    ]
    found += ["self_consistency"] if experiment.repeats > 1 else []
    found += ["cost"] if tasks.filter(usage__cost__gte=0).exists() else []
    return [*found, *(f"{kind}.{figure}" for kind in kinds for figure in ("model_s", "ttfb_s"))]


def _references(experiment: Experiment) -> tuple[bool, bool]:
    """Whether some sample says its text, and some its answer."""
    rows = DatasetSample.objects.filter(version_id=experiment.dataset_id).order_by("position")
    said = [each for content in rows.values_list("content", flat=True)[:LOOKED_AT]
            for each in content.get("utterances", ())]  # fmt: skip
    return any(each.get("text") is not None for each in said), any(each.get("answer") is not None for each in said)
