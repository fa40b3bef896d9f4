"""Experiments taken out and in over HTTP: a bundle of one, and the parts of one that another server exported."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from ninja import Field, Router, Schema, Status
from pydantic import AfterValidator

from ... import bounds
from ...datasets import Sample, checked
from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..datasets.schemas import DatasetName
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.errors import bad_request
from ..ground.fields import Count, Line, Moment, PartMessage, Text
from . import exporting, importing, playing
from .comparison_rest import ComparisonOut
from .finding import find
from .models import Cell
from .schemas import MAX_PIPELINES, MAX_REPEATS

router = Router(tags=["experiments"])
READERS = allow(Scope.VIEWER, whole=True)
MAKERS = allow(Scope.RESEARCHER, whole=True)
MAX_PART = 2_000
"""Rows of each kind that a body brings."""
MAX_SAMPLES = 100_000


def _storable(value: Any) -> Any:
    if not bounds.storable_json(value):
        raise ValueError("it is JSON without NaN and NUL")
    return value


def _plain(text: str) -> str:
    if not bounds.storable(text):
        raise ValueError("it has a NUL, or is no text; leave that out")
    return text


def _sample(value: Any) -> Any:
    try:
        checked(msgspec.convert(_storable(value), Sample))
    except msgspec.ValidationError as error:
        raise ValueError(f"it is no sample: {error}") from None
    return value


def _player(value: dict[str, Any]) -> dict[str, Any]:
    try:
        playing.choice_in(value)
    except msgspec.ValidationError as error:
        raise ValueError(f"it is no player: {error}") from None
    return value


Kept = Annotated[dict[str, Any], AfterValidator(_storable)]
Key = Annotated[str, AfterValidator(_plain), Field(min_length=1, max_length=120)]
SampleKey = Annotated[str, AfterValidator(_plain), Field(min_length=1, max_length=200)]
Digest = Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,64}$")]
Figure = Annotated[float, Field(ge=-1e100, le=1e100, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e100, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=bounds.MAX_SECONDS * MAX_SAMPLES, allow_inf_nan=False)]
Place = Annotated[int, Field(ge=0, le=bounds.MAX_PLACE)]
Repeat = Annotated[int, Field(ge=1, le=MAX_REPEATS)]


class ExperimentPart(PartMessage):
    seed: Annotated[int, Field(ge=-bounds.MAX_INT, le=bounds.MAX_INT)]
    pace: Literal["realtime", "fast"]
    repeats: Repeat
    baseline: Key
    margins: Annotated[dict[str, Amount], Field(max_length=100)] = {}
    player: Annotated[Kept, AfterValidator(_player)] = {}
    manifest: Kept = {}
    started_at: Moment | None = None
    ended_at: Moment | None = None


class DatasetPart(PartMessage):
    name: DatasetName
    hash: Digest
    seconds: Seconds = 0.0
    samples: Annotated[int, Field(ge=1, le=MAX_SAMPLES)]


class PipelinePart(PartMessage):
    label: Key
    name: Annotated[str, AfterValidator(_plain), Field(min_length=1, max_length=80)]
    hash: Digest


class MetricPart(PartMessage):
    name: Annotated[str, AfterValidator(_plain), Field(min_length=1, max_length=80)]
    version: Annotated[str, AfterValidator(_plain), Field(max_length=80)]
    unit: Annotated[str, AfterValidator(_plain), Field(max_length=20)] = ""
    better: Literal["higher", "lower", ""]
    kind: Literal["latency", "accuracy", "cost", "other"]
    statistic: Literal["mean", "p50", "p95", "rate", ""] = ""
    takes: Literal["turn", "cell", "repeats"] = "cell"


class PlayedPart(PartMessage):
    player: Annotated[str, AfterValidator(_plain), Field(max_length=1_000)]
    cells: Count
    builds: Annotated[list[Digest], Field(max_length=100)] = []


class VariesPart(PartMessage):
    pipeline: Key
    samples: Count
    differ: Count
    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


class ImportNew(PartMessage):
    """What was exported, without its rows: these come to `/experiments/{name}/import/rows`."""

    experiment: ExperimentPart
    dataset: DatasetPart
    pipelines: Annotated[list[PipelinePart], Field(min_length=1, max_length=MAX_PIPELINES)]
    metrics: Annotated[list[MetricPart], Field(max_length=1000)] = []
    varies: Annotated[list[VariesPart], Field(max_length=MAX_PIPELINES)] = []
    players: Annotated[list[PlayedPart], Field(max_length=1_000)] = []


class SamplePart(PartMessage):
    sample: SampleKey
    group: Line = Field("", max_length=200)
    hash: Digest
    seconds: Seconds = 0.0
    needs_realtime: bool = False
    pair: Line = Field("", max_length=200)
    content: Annotated[dict[str, Any], AfterValidator(_sample)]


class CellPart(PartMessage):
    sample: SampleKey
    pipeline: Key
    repeat: Repeat
    order: Place
    status: Literal["planned", "queued", "running", "done", "failed", "cancelled"]
    reason: Text = ""
    attempt: Place = 0
    disturbed: Place = 0
    started_at: Moment | None = None
    ended_at: Moment | None = None


class ScorePart(PartMessage):
    metric: Annotated[str, Field(max_length=80)]
    version: Annotated[str, Field(max_length=80)]
    sample: SampleKey
    pipeline: Key
    repeat: Repeat
    outcome: Literal["scored", "not_applicable", "unparsed", "failed", "skipped", "planned"]
    value: Figure | None = None
    errors: Amount | None = None
    total: Amount | None = None


class ImportRows(PartMessage):
    samples: Annotated[list[SamplePart], Field(max_length=MAX_PART)] = []
    cells: Annotated[list[CellPart], Field(max_length=MAX_PART)] = []
    scores: Annotated[list[ScorePart], Field(max_length=MAX_PART)] = []


class Imported(Schema):
    """How many rows of it there are now."""

    samples: int
    cells: int
    scores: int


class Exported(Schema):
    """All that an experiment's figures are made of; media, turns and single raters' scores are not in it."""

    format: str
    experiment: dict[str, Any]
    dataset: dict[str, Any]
    pipelines: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    comparison: ComparisonOut
    computed_by: dict[str, str] = Field(description="versions of what computed the comparison")


@router.get("/experiments/{name}/export", auth=READERS, response=Exported, summary="Export an experiment",
            openapi_extra=also(400))  # fmt: skip
def export_experiment(request: AuthedRequest, name: str) -> Any:
    """What a folder that opens offline is made of, and what another server imports."""
    return exporting.bundle(find(request.auth, name))


@router.post("/experiments/{name}/import", auth=MAKERS, response={201: Imported}, summary="Import an experiment",
             openapi_extra=also(400, 409))  # fmt: skip
def import_experiment(request: AuthedRequest, name: str, payload: ImportNew) -> Any:
    """Begins it under this name. The same again changes nothing."""
    if len(name) > 80 or name != name.strip() or name.startswith(".") or not bounds.storable(name):
        bad_request("the name of an experiment has 80 characters at most, and begins with no '.' and no blank")
    importing.begin(request.auth, name, payload.dict())
    return Status(201, importing.add(request.auth, name, {"samples": [], "cells": [], "scores": []}))


@router.post("/experiments/{name}/import/rows", auth=MAKERS, response=Imported, summary="Import rows of an experiment",
             openapi_extra=also(400, 409))  # fmt: skip
def import_rows(request: AuthedRequest, name: str, payload: ImportRows) -> Any:
    """Samples before cells, cells before scores. What is there stays as it is."""
    return importing.add(request.auth, name, payload.dict())


assert set(Cell.Status.values) == {"planned", "queued", "running", "done", "failed", "cancelled"}
