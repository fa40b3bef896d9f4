"""Metrics as data over HTTP: what is asked, stated anew, and retired."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Field, Router, Schema, Status

from ...metrics import rated
from ...metrics.rated import MAX_FILE, RatedMetric
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import bad_request
from ..ground.fields import Body
from . import stating
from .models import Metric

router = Router(tags=["metrics"])
READERS = allow(Scope.VIEWER, Scope.ANNOTATOR)
"""Questions hold nothing that anybody said in a conversation, so whoever is asked may read them."""
MAKERS = allow(Scope.RESEARCHER, whole=True)


class MetricText(Body):
    """One metric as its YAML text, as `openomni metrics check` takes it."""

    yaml: Annotated[str, Field(min_length=1, max_length=MAX_FILE)]
    dry_run: bool = Field(False, description="only checks it: nothing is kept")


class MetricLine(Schema):
    """What is asked, in short. `about`: turn, session, group, pair, or the kind of a stage whose output it is.
    `builtin`: it is as it comes along."""

    metric: str
    version: str
    about: str
    title: str
    question: str
    scale: dict[str, Any]
    better: str
    level: str
    required: bool
    builtin: bool


class AskedOut(MetricLine):
    """All of a question; `versions` of it that scores may answer, the newest last."""

    unit: str
    guidance: str
    source: str
    examples: list[dict[str, Any]]
    comment: bool
    asked_in: int
    retired: bool
    stated_at: datetime | None
    versions: list[str]


class MetricLines(Schema):
    metrics: list[MetricLine]


@router.get("/metrics", auth=READERS, response=MetricLines, summary="What people and judges can be asked")
def list_metrics(request: AuthedRequest) -> Any:
    """By name: those of the project, and those that come along. What programs measure is not among them."""
    rows = {row.name: stating.described(row) for row in stating.current(request.auth.project_id)}
    retired = Metric.objects.scoped(request).filter(rated=True).exclude(name__in=rows).values_list("name", flat=True)
    others = {name: _described(asked) for name, asked in rated.builtin().items() if name not in {*rows, *retired}}
    return {"metrics": [found for _, found in sorted({**rows, **others}.items())]}


@router.get("/metrics/{name}", auth=READERS, response=AskedOut, summary="One metric that is asked")
def get_metric(request: AuthedRequest, name: str) -> Any:
    """`name`, as it is asked now, or `name@version`."""
    project = request.auth.project_id
    there = Metric.objects.filter(project_id=project, rated=True, name=name.partition("@")[0])
    builtin = rated.builtin().get(name)
    if builtin is not None and not there.exists():
        return {**_described(builtin), "versions": [builtin.version]}
    return _whole(stating.chosen(project, name))


@router.put("/metrics/{name}", auth=MAKERS, response={200: AskedOut, 201: AskedOut}, summary="State a metric",
            openapi_extra=also(400, 409))  # fmt: skip
def put_metric(request: AuthedRequest, name: str, payload: MetricText) -> Any:
    """It is asked from now on (201: a version that was not there). Campaigns that run go on with the version that they
    have. What is wrong with it is told in one line, with the line of the text."""
    asked = _read(payload, name)
    if payload.dry_run:
        return Status(200, {**_described(asked), "versions": [asked.version]})
    stated = stating.state(request.auth.project_id, asked)
    return Status(201 if stated.made else 200, _whole(stated.row))


@router.delete("/metrics/{name}", auth=MAKERS, response={204: None}, summary="Retire a metric")
def retire_metric(request: AuthedRequest, name: str) -> Any:
    """It is offered no more; what was answered to it stays, and campaigns that ask it go on."""
    stating.retire(stating.chosen(request.auth.project_id, name))
    return Status(204, None)


def _read(payload: MetricText, name: str) -> RatedMetric:
    several = rated.parse(payload.yaml, name or "metric")
    if len(several) != 1:
        bad_request(f"the text holds {len(several)} metrics; send one at a time")
    if name and several[0].name != name:
        bad_request(f"the text states {several[0].name!r}, and the address names {name!r}; make them the same")
    return several[0]


def _described(asked: RatedMetric) -> dict[str, Any]:
    found = stating.told(asked)
    return {**found, "retired": False, "stated_at": None}


def _whole(row: Metric) -> dict[str, Any]:
    same = Metric.objects.filter(project_id=row.project_id, name=row.name, rated=True).order_by("stated_at", "pk")
    versions = list(same.values_list("version", flat=True))
    return {**stating.described(row), "versions": versions}
