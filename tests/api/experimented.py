"""An experiment that has run, as rows: samples × pipelines × repeats with turns, times in models and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from django.utils import timezone

from openomni.api.accounts.models import Project
from openomni.api.datasets.models import Dataset, DatasetSample, DatasetVersion
from openomni.api.experiments.models import Cell, Experiment, ExperimentPipeline
from openomni.api.records.models import Session, Task, Turn
from openomni.api.scores.models import Metric, Rater, Score

SHIFTS = {"local": 0.0, "local-quick": -0.2, "local-twin": 0.0}
"""Pipeline → by how many seconds it is slower than the baseline."""
WORDS = 10


def experimented(
    project: Project, name: str = "which", samples: int = 24, repeats: int = 2, shifts: Mapping[str, float] = SHIFTS
) -> Experiment:
    """Latencies by `turn_s`, `wer` with its counts, `cost` and the time in models; the last sample of the last pipeline
    failed once, and the first sample is in two words what nobody heard."""
    rng = np.random.default_rng(5)
    version = DatasetVersion.objects.create(
        project=project, dataset=Dataset.objects.create(project=project, name=f"{name}-questions"), number=1,
        hash="d" * 64, samples=samples,
    )  # fmt: skip
    rows = [_sample(project, version, at) for at in range(samples)]
    experiment = Experiment.objects.create(
        project=project, name=name, dataset=version, baseline=next(iter(shifts)), repeats=repeats, seed=3,
        margins={"turn_s": 0.1}, status="done", started_at=timezone.now(), ended_at=timezone.now(),
        manifest={"dataset": version.dataset.name, "versions": {"openomni": "0.2.0"}},
    )  # fmt: skip
    metrics = {
        each: Metric.objects.get_or_create(project=project, name=each, version="1", defaults=fields)[0]
        for each, fields in {
            "turn_s": {"takes": "cell", "unit": "s", "better": "lower"},
            "wer": {"takes": "cell", "better": "lower", "parameters": {"kind": "accuracy", "statistic": "rate"}},
            "cost": {"takes": "cell", "better": "lower"},
        }.items()
    }
    rater, _ = Rater.objects.get_or_create(project=project, kind="program", name="openomni", version="1")
    easy = rng.normal(0, 0.2, samples)
    made: dict[Any, list[Any]] = {Cell: [], Session: [], Turn: [], Task: [], Score: []}
    for place, (label, shift) in enumerate(shifts.items()):
        tested = ExperimentPipeline.objects.create(
            project=project, experiment=experiment, place=place, label=label, name=label, hash=f"{place}" * 64
        )
        for at, row in enumerate(rows):
            for repeat in range(1, repeats + 1):
                failed = (label, at, repeat) == (list(shifts)[-1], samples - 1, 1)
                key = f"{experiment.pk:04}{place:04}{at:04}{repeat:04}".rjust(32, "0")
                cell = Cell(
                    project=project, id=key, experiment=experiment, pipeline=tested, sample=row, repeat=repeat,
                    order=len(made[Cell]), status="failed" if failed else "done", session=f"s{key}",
                )  # fmt: skip
                made[Cell].append(cell)
                session = Session(project=project, id=f"s{key}", pipeline=label, origin="experiment", status="closed")
                made[Session].append(session)
                turn = Turn(
                    project=project, id=f"t{key}", session=session, index=0, pipeline=label, origin="experiment",
                    status="failed" if failed else "completed", cell=key, live=False, transcript=f"Question {at}?",
                    reply_text=f"Answer {at if label != 'local-twin' else at + repeat}.",
                )  # fmt: skip
                made[Turn].append(turn)
                if failed:
                    continue
                seconds = 1.0 + easy[at] + shift + rng.normal(0, 0.02)
                made[Task].append(
                    Task(project=project, turn=turn, task_id=f"k{key}", kind="stt", component="x", status="completed",
                         model_s=seconds / 4)
                )  # fmt: skip
                errors = int(rng.binomial(WORDS, 0.3 if label == "local-quick" else 0.1))
                for metric, value, detail in (
                    ("turn_s", seconds, {}), ("wer", errors / WORDS, {"errors": errors, "total": WORDS}),
                    ("cost", 0.001 * (1 + place), {"currency": "USD"}),
                ):  # fmt: skip
                    made[Score].append(
                        Score(project=project, metric=metrics[metric], rater=rater, target="cell", target_id=key,
                              outcome="scored", value=value, detail=detail)
                    )  # fmt: skip
    for model, instances in made.items():
        model.objects.bulk_create(instances)
    return experiment


def _sample(project: Project, version: DatasetVersion, at: int) -> DatasetSample:
    content = {"id": f"q{at:02}", "utterances": [{"sound": {"path": f"r{at}"}, "text": f"Question {at}?"}]}
    return DatasetSample.objects.create(
        project=project, version=version, position=at, sample_id=f"q{at:02}", hash=f"{at}", content=content
    )
