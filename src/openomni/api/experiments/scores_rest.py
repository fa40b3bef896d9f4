"""Scores of an experiment over HTTP: given by programs, again at will, and read page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from django.db.models import Q
from ninja import Field, Query, Router, Schema, Status
from pydantic import AfterValidator

from ... import bounds
from ...errors import WrongUsage
from ...metrics.scorer import Scorer
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..datasets.models import DatasetSample
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import bad_request, conflict
from ..ground.fields import Body, Name
from ..ground.paging import Page, Paging, page
from ..records.models import Turn
from ..scores.giving import standing
from ..scores.models import Score, Target
from . import scoring, scoring_choice
from .finding import find
from .models import Cell, Experiment

router = Router(tags=["experiments"])
READERS = allow(Scope.VIEWER, whole=True)
MAKERS = allow(Scope.RESEARCHER, whole=True)
"""Its cells are of the whole project, whoever is heard in them."""
MAX_PARAMETERS = 256 << 10
"""Bytes of the parameters of all metrics, as JSON."""


def _parameters(given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    if not bounds.storable_json(given) or len(msgspec.json.encode(given)) > MAX_PARAMETERS:
        raise ValueError(f"parameters are JSON of at most {MAX_PARAMETERS} bytes, without NaN and NUL")
    return given


def _no_file(name: str) -> str:
    if name.endswith(".py"):
        raise ValueError(f"{name!r} is a file; a server scores by metrics that are installed on it, by their names")
    return name


MetricName = Annotated[
    str, AfterValidator(_no_file), Field(min_length=1, max_length=80, pattern=r"^[a-z0-9][a-z0-9._-]*$")
]


class ScoresNew(Body):
    """Which metrics are to score what has run; without names those that the experiment states, or that fit its dataset.
    What is scored under a metric's version is left alone, unless `again`. `parameters`: by metric, its own."""

    metrics: list[MetricName] = Field([], max_length=100)
    again: bool = False
    parameters: Annotated[dict[MetricName, dict[str, Any]], AfterValidator(_parameters)] = Field({}, max_length=100)


class MetricCount(Schema):
    """How far one metric is: of `planned` targets so many have a score of each outcome; `awaited` want a sound that is
    on its way. `problem`: why it scores nothing. `reason`: why the last one that failed did."""

    metric: str
    version: str
    takes: str
    unit: str
    planned: int
    scored: int
    not_applicable: int
    unparsed: int
    failed: int
    skipped: int
    awaited: int
    problem: str
    reason: str


class ScoringOut(Schema):
    """How far the scoring of an experiment is."""

    experiment: str
    running: bool
    metrics: list[MetricCount]


class ScoreOut(Schema):
    """A score that stands, and what it is of; `repeat` is null for one of all repeats."""

    metric: str
    version: str
    unit: str
    rater: str
    rater_kind: str
    target: str
    target_id: str
    sample: str
    pipeline: str
    repeat: int | None
    outcome: str
    value: float | None
    label: str
    reason: str
    detail: dict[str, Any]
    created_at: datetime


class ScoreFilter(Schema):
    metric: Name = ""
    outcome: Literal["", "scored", "not_applicable", "unparsed", "failed", "skipped"] = ""
    pipeline: Name = ""


@router.post("/experiments/{name}/scores", auth=MAKERS, response={202: ScoringOut}, summary="Score an experiment",
             openapi_extra=also(400, 409))  # fmt: skip
def score_experiment(request: AuthedRequest, name: str, payload: ScoresNew) -> Any:
    """Nothing is run again. It goes on by itself; `GET /experiments/{name}/scoring` says how far it is."""
    experiment = find(request.auth, name)
    names = scoring_choice.chosen(experiment, payload.metrics)
    if extra := payload.parameters.keys() - set(names):
        bad_request(f"parameters: {min(extra)} is not among the metrics; name it there, too")
    going = scoring.last(experiment)
    if going is not None and going.running:
        if payload.again or payload.parameters:
            conflict("it is being scored; wait until that is over, and ask again")
        if payload.metrics and {*payload.metrics} - {each.metric for each in going.metrics}:
            conflict("it is being scored under other metrics; wait until that is over, and ask again")
        return Status(202, _told(experiment, going))
    _check(names, payload.parameters, {*payload.metrics})
    return Status(202, _told(experiment, scoring.begin(experiment, names, payload.again, payload.parameters)))


def _check(names: Sequence[str], parameters: Mapping[str, Any], named: set[str]) -> None:
    """Refuses what was misspelt before anything is begun; what can't be had for another reason is a problem of its
    own."""
    if not named and not parameters:
        return
    with Scorer() as scorer:
        for each in names:
            try:
                scorer.describe(each, parameters.get(each))
            except WrongUsage:
                raise
            except Exception:  # noqa: S112 (it is told with the metric's count)
                continue


@router.get("/experiments/{name}/scoring", auth=READERS, response=ScoringOut, summary="How far scoring is")
def get_scoring(request: AuthedRequest, name: str) -> Any:
    """Of the scoring that runs, or that ran last since the server started; no metrics where there was none."""
    experiment = find(request.auth, name)
    return _told(experiment, scoring.last(experiment))


def _told(experiment: Experiment, progress: scoring.Progress | None) -> dict[str, Any]:
    metrics = [] if progress is None else list(progress.metrics)
    return {"experiment": experiment.name, "running": progress is not None and progress.running, "metrics": metrics}


@router.get("/experiments/{name}/scores", auth=READERS, response=Page[ScoreOut], summary="Scores of an experiment")
def list_scores(request: AuthedRequest, name: str, paging: Query[Paging], wanted: Query[ScoreFilter]) -> Any:
    """Those that stand, whoever gave them, newest first. Warm-up has none."""
    experiment = find(request.auth, name)
    cells = Cell.objects.filter(experiment=experiment)
    if wanted.pipeline:
        cells = cells.filter(pipeline__label=wanted.pipeline)
    turns = Turn.objects.filter(project_id=experiment.project_id, cell__in=cells.values("pk"))
    of_it = Q(target=Target.CELL, target_id__in=cells.values("pk")) | Q(
        target=Target.TURN, target_id__in=turns.values("pk")
    )
    pipelines = experiment.pipelines.filter(label=wanted.pipeline) if wanted.pipeline else [None]
    for pipeline in pipelines:
        prefix = f"{experiment.pk}:" if pipeline is None else f"{experiment.pk}:{pipeline.pk}:"
        of_it |= Q(target=Target.REPEATS, target_id__startswith=prefix)
    rows = Score.objects.scoped(request).filter(of_it).select_related("metric", "rater")
    if wanted.metric:
        rows = rows.filter(metric__name=wanted.metric)
    if wanted.outcome:
        rows = rows.filter(outcome=wanted.outcome)
    found = page(standing(rows), paging)
    return {**found, "items": _scores(experiment, found["items"])}


def _scores(experiment: Experiment, rows: Sequence[Score]) -> list[dict[str, Any]]:
    """With what they are of, by three queries a page."""
    of_turn: dict[Any, str] = dict(Turn.objects.filter(pk__in=_ids(rows, Target.TURN)).values_list("pk", "cell"))
    keys = {*_ids(rows, Target.CELL), *of_turn.values()}
    named = Cell.objects.filter(pk__in=keys).select_related("sample", "pipeline")
    cells = {each.pk: each for each in named}
    pipelines = {each.pk: each.label for each in experiment.pipelines.all()}
    of_repeats = [tuple(map(int, key.split(":")[1:])) for key in _ids(rows, Target.REPEATS)]
    samples: dict[int, str] = dict(
        DatasetSample.objects.filter(pk__in={sample for _, sample in of_repeats}).values_list("pk", "sample_id")
    )
    made = []
    for row in rows:
        cell = cells.get(of_turn.get(row.target_id, row.target_id))
        said: dict[str, Any] = {"sample": "", "pipeline": "", "repeat": None}
        if cell is not None:
            said = {"sample": cell.sample.sample_id, "pipeline": cell.pipeline.label, "repeat": cell.repeat}
        elif row.target == Target.REPEATS:
            pipeline, sample = map(int, row.target_id.split(":")[1:])
            said |= {"sample": samples.get(sample, ""), "pipeline": pipelines.get(pipeline, "")}
        about = {"metric": row.metric.name, "version": row.metric.version, "unit": row.metric.unit,
                 "rater": row.rater.name, "rater_kind": row.rater.kind}  # fmt: skip
        same = ("target", "target_id", "outcome", "value", "label", "reason", "detail", "created_at")
        made.append(about | said | {name: getattr(row, name) for name in same})
    return made


def _ids(rows: Sequence[Score], target: Target) -> list[str]:
    return [row.target_id for row in rows if row.target == target]
