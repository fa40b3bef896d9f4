"""An experiment that another server exported: kept here such that it is compared with the same figures.

It comes in parts: first what it is, then its rows, as many at a time as a body may have. A part may come twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from ..datasets.models import Dataset, DatasetSample, DatasetUtterance, DatasetVersion
from ..ground.caller import Caller
from ..ground.errors import bad_request, conflict
from ..records.models import Tombstone
from ..scores.models import Metric, Outcome, Rater, Score, Target
from .finding import find
from .measurements import UNANSWERED
from .models import IMPORTED, Cell, Experiment, ExperimentPipeline

RATER = "another server"
SOURCE = "an exported experiment; its media stayed where they are"
"""Of a version that is of what came with an experiment alone."""
_NAMESPACE = uuid.UUID("3d3b8a0e-7f0f-5d0c-9a57-6f7e6f1f6c55")


def begin(caller: Caller, name: str, about: Mapping[str, Any]) -> Experiment:
    """The experiment without its cells; the one that there is where it came before.

    Raises Refusal: 409 where another one has its name.
    """
    experiment, dataset = about["experiment"], about["dataset"]
    labels = [each["label"] for each in about["pipelines"]]
    if experiment["baseline"] not in labels:
        bad_request(f"the baseline {experiment['baseline']!r} is none of its pipelines {', '.join(labels)}")
    money = {each["name"]: each["unit"] for each in about["metrics"] if each["kind"] == "cost" and each["unit"]}
    elsewhere = {"dataset": dataset["hash"], "varies": about["varies"], "currency": money, "players": about["players"]}
    manifest = {**experiment["manifest"], IMPORTED: elsewhere}
    project = caller.project_id
    try:
        with transaction.atomic():
            there = Experiment.objects.filter(project_id=project, name=name).first()
            if there is not None:
                if there.manifest != manifest:
                    conflict(f"there is another experiment {name!r} already; import it under another name")
                return there
            version = _version(project, dataset)
            made = Experiment.objects.create(
                project_id=project, name=name, dataset=version, manifest=manifest, warm_up=0,
                created_by=caller.user_name, status=Experiment.Status.DONE,
                **{each: experiment[each] for each in ("seed", "pace", "repeats", "baseline", "margins", "player",
                                                       "started_at", "ended_at")},
            )  # fmt: skip
            ExperimentPipeline.objects.bulk_create(
                ExperimentPipeline(
                    project_id=project, experiment=made, place=place, label=each["label"], name=each["name"],
                    hash=each["hash"],
                )
                for place, each in enumerate(about["pipelines"])
            )  # fmt: skip
            for each in about["metrics"]:
                _metric(project, each)
            return made
    except IntegrityError:
        conflict(f"{name!r} is being imported already, or two of its pipelines have one name; try again")


def _version(project: str, dataset: Mapping[str, Any]) -> DatasetVersion:
    """The one that is here where the same data were imported, or made, before; else one without media, under a name of
    its own: it must not stand in the way of the data themselves."""
    there = DatasetVersion.objects.filter(project_id=project, hash=dataset["hash"], dataset__draft=False)
    for name in (dataset["name"], f"{dataset['name'][:70]}:{IMPORTED}"):
        if (found := there.filter(dataset__name=name).first()) is not None:
            return found
    named, _ = Dataset.objects.get_or_create(project_id=project, name=name)
    last = named.versions.aggregate(last=Max("number"))["last"] or 0
    return DatasetVersion.objects.create(
        project_id=project,
        dataset=named,
        number=last + 1,
        hash=dataset["hash"],
        seconds=dataset["seconds"],
        samples=dataset["samples"],
        source=SOURCE,
    )


def _metric(project: str, info: Mapping[str, Any]) -> Metric:
    parameters = {"kind": info["kind"]} | ({"statistic": info["statistic"]} if info["statistic"] else {})
    # What costs are in is told by each score.
    unit = "" if info["kind"] == "cost" else info["unit"]
    fields = {"takes": info["takes"], "unit": unit, "better": info["better"], "parameters": parameters}
    metric, _ = Metric.objects.get_or_create(
        project_id=project, name=info["name"], version=info["version"], defaults=fields
    )
    if (metric.takes, metric.unit, metric.better) != (info["takes"], unit, info["better"]):
        conflict(f"{metric} is another metric here, which takes a {metric.takes}, in {metric.unit or 'no unit'}")
    return metric


def add(caller: Caller, name: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, int]:
    """Samples, then cells, then scores; what is there stays. Gives how many there are now.

    Raises Refusal: 404 for an experiment that was not begun, 409 for one that is this server's own, 400 for a row that
    names a sample, a pipeline or a metric which has not come.
    """
    experiment = find(caller, name)
    if IMPORTED not in experiment.manifest:
        conflict(f"{name!r} is this server's own, and nothing is added to it; import under another name")
    with transaction.atomic():
        _samples(experiment, rows["samples"])
        _cells(experiment, rows["cells"])
        _scores(experiment, rows["scores"])
    return {
        "samples": experiment.dataset.rows.count(),
        "cells": experiment.cells.count(),
        "scores": Score.objects.filter(target=Target.CELL, target_id__in=experiment.cells.values("pk")).count(),
    }


def _samples(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> None:
    version = experiment.dataset
    known = set(version.rows.values_list("sample_id", flat=True))
    fresh = [each for each in rows if each["sample"] not in known]
    if fresh and version.source != SOURCE:
        bad_request(f"{version} is here, without the sample {fresh[0]['sample']!r}: it was erased, and stays so")
    if len(known) + len(fresh) > version.samples:
        bad_request(f"the dataset has {version.samples} samples, and these are more; export it again")
    heard = {
        _text(_part(each, "sound"), "path", 64): row["sample"] for row in fresh for each in _utterances(row["content"])
    }
    gone = Tombstone.objects.filter(project_id=version.project_id, kind=Tombstone.Kind.RECORDING, key__in=heard)
    if (key := gone.values_list("key", flat=True).first()) is not None:
        bad_request(f"the sample {heard[key]!r} is of a recording that was erased here, and stays so")
    made = DatasetSample.objects.bulk_create(
        DatasetSample(
            project_id=version.project_id, version=version, position=len(known) + at, sample_id=each["sample"],
            **{name: each[name] for name in ("group", "hash", "seconds", "needs_realtime", "pair", "content")},
        )
        for at, each in enumerate(fresh)
    )  # fmt: skip
    # Whoever is heard in them is found, and erased, by these.
    DatasetUtterance.objects.bulk_create(
        DatasetUtterance(
            project_id=version.project_id, sample=row, index=index,
            recording=_text(_part(each, "sound"), "path", 64), participant=_text(each, "speaker", 200),
        )
        for row in made
        for index, each in enumerate(_utterances(row.content))
    )  # fmt: skip


def _utterances(content: Any) -> list[Any]:
    found = content.get("utterances") if isinstance(content, dict) else None
    return found if isinstance(found, list) else []


def _part(each: Any, name: str) -> Any:
    return each.get(name) if isinstance(each, dict) else None


def _text(each: Any, name: str, most: int) -> str:
    found = _part(each, name)
    return found[:most] if isinstance(found, str) else ""


def _places(experiment: Experiment) -> tuple[dict[str, int], dict[str, int]]:
    samples = dict(experiment.dataset.rows.values_list("sample_id", "pk"))
    return samples, dict(experiment.pipelines.values_list("label", "pk"))


def _cell_id(experiment: Experiment, sample: int, pipeline: int, repeat: int) -> str:
    return uuid.uuid5(_NAMESPACE, f"{experiment.pk} {sample} {pipeline} {repeat}").hex


def _cells(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> None:
    samples, pipelines = _places(experiment)
    made = []
    for each in rows:
        sample, pipeline = _named(samples, "sample", each["sample"]), _named(pipelines, "pipeline", each["pipeline"])
        made.append(
            Cell(
                project_id=experiment.project_id, experiment=experiment, sample_id=sample, pipeline_id=pipeline,
                id=_cell_id(experiment, sample, pipeline, each["repeat"]),
                # What had not run there is not run here: its pipelines may be unknown, and its media are.
                status=each["status"] if each["status"] in Cell.OVER else Cell.Status.CANCELLED,
                **{name: each[name] for name in ("repeat", "order", "reason", "attempt", "disturbed", "started_at",
                                                 "ended_at")},
            )
        )  # fmt: skip
    Cell.objects.bulk_create(made, ignore_conflicts=True)


def _named(known: Mapping[str, Any], what: str, name: str) -> Any:
    if name not in known:
        bad_request(f"a row is of the {what} {name!r}, which has not come; send {what}s first")
    return known[name]


def _scores(experiment: Experiment, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    samples, pipelines = _places(experiment)
    project = experiment.project_id
    wanted = {(each["metric"], each["version"]) for each in rows}
    found = Metric.objects.filter(project_id=project, name__in={name for name, _ in wanted})
    metrics = {(metric.name, metric.version): metric for metric in found}
    rater, _ = Rater.objects.get_or_create(project_id=project, kind=Rater.Kind.PROGRAM, name=RATER, version="")
    statuses = dict(experiment.cells.values_list("pk", "status"))
    made = []
    for each in rows:
        metric = _named(metrics, "metric", (each["metric"], each["version"]))  # type: ignore[arg-type]
        sample, pipeline = _named(samples, "sample", each["sample"]), _named(pipelines, "pipeline", each["pipeline"])
        cell = _cell_id(experiment, sample, pipeline, each["repeat"])
        if cell not in statuses:
            bad_request(f"a score is of {each['sample']!r} × {each['pipeline']!r} × {each['repeat']}, which is no cell")
        said = _said(each, metric, statuses[cell], experiment.manifest[IMPORTED].get("currency", {}).get(metric.name))
        if said is not None:
            made.append(
                Score(project_id=project, metric=metric, rater=rater, target=Target.CELL, target_id=cell, **said)
            )
    Score.objects.bulk_create(made, ignore_conflicts=True)


def _said(each: Mapping[str, Any], metric: Metric, status: str, currency: str | None) -> dict[str, Any] | None:
    """Such that reading it back gives the same measurement; None for what follows from its cell."""
    outcome, detail = each["outcome"], {"currency": currency} if currency else {}
    if each["errors"] is not None and each["total"] is not None:
        detail |= {"errors": each["errors"], "total": each["total"]}
    if outcome == "scored":
        return {"outcome": Outcome.SCORED, "value": each["value"], "detail": detail}
    if outcome in ("planned", "skipped") or (outcome == "failed" and status == Cell.Status.FAILED):
        return None
    reason = "as another server has it"
    if outcome == "failed" and metric.parameters.get("kind") == "latency":
        return {"outcome": Outcome.NOT_APPLICABLE, "reason": reason, "detail": {UNANSWERED[0]: 1}}
    return {"outcome": Outcome(outcome), "reason": reason, "detail": detail}
