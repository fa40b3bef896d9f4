"""Experiments as REST takes and gives them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Field, Schema
from pydantic import AfterValidator

from ... import bounds
from ..ground.fields import Body, Name
from .models import Cell

MAX_PIPELINES = 50
MAX_REPEATS = 1_000


# It stands in paths, so it holds no '/', and is not taken for the folder that '.' or '..' is.
NAME = r"^[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$"


def _name(text: str) -> str:
    if text != text.strip():
        raise ValueError(f"{text!r} begins or ends with a blank; leave it out")
    if text and not re.fullmatch(NAME, text):
        raise ValueError(f"{text!r} holds '/' or what can't be seen, or begins with '.'; leave that out")
    return text


ExperimentName = Annotated[
    str, Field(min_length=1, max_length=80, json_schema_extra={"pattern": NAME}), AfterValidator(_name)
]
Pipelines = Annotated[list[Annotated[str, Field(min_length=1, max_length=150)]],
                      Field(min_length=1, max_length=MAX_PIPELINES, description="names, or `name@hash`")]  # fmt: skip
MAX_PARAMETERS = 16 << 10
"""Bytes of what a player, or a voice, is given as JSON."""


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if not bounds.storable_json(value, depth=8) or len(json.dumps(value)) > MAX_PARAMETERS:
        raise ValueError(f"parameters hold JSON, of {MAX_PARAMETERS >> 10} KiB at most")
    return value


Parameters = Annotated[dict[str, Any], AfterValidator(_small)]
Margin = Annotated[float, Field(ge=0, le=bounds.MAX_SECONDS, allow_inf_nan=False, strict=False)]


class PlayerIn(Body):
    """Who plays the user instead of the samples' recordings: a component of the kind `player`, by name, and the voice
    (of the kind `tts`) that says what it writes."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    parameters: Parameters = {}
    voice: Annotated[str, Field(min_length=1, max_length=120)] = "piper"
    voice_parameters: Parameters = {}


class ExperimentNew(Body):
    """Samples × pipelines × repeats. `dataset`: a name, or `name@version`. `with`: by kind, `reference`, for stages
    whose place the samples' references take. Without a `name` it is called after its dataset and pipelines; the
    `baseline` is the first pipeline, unless another is named. `margins`: by metric, the difference that does not
    matter."""

    dataset: Annotated[str, Field(min_length=1, max_length=100)]
    pipelines: Pipelines
    repeats: int = Field(1, ge=1, le=MAX_REPEATS)
    seed: int = Field(0, ge=-bounds.MAX_INT, le=bounds.MAX_INT)
    pace: Literal["realtime", "fast"] = "fast"
    name: ExperimentName | None = None
    baseline: Name = ""
    margins: dict[Annotated[str, Field(max_length=80)], Margin] = Field({}, max_length=100)
    given: dict[Annotated[str, Field(max_length=40)], Literal["reference"]] = Field({}, alias="with", max_length=10)
    metrics: list[Annotated[str, Field(min_length=1, max_length=80)]] = Field([], max_length=100)
    player: PlayerIn | None = None


class PipelinesNew(Body):
    pipelines: Pipelines


class Cells(Schema):
    """Of cells, warm-up left out: `planned` are all, `waiting` are not queued yet, `running` are queued or run, `run`
    have ended with a result (`done` or `failed`)."""

    planned: int
    waiting: int
    running: int
    run: int
    done: int
    failed: int
    cancelled: int


class ScoredCells(Cells):
    scored: int


class TestedPipelineOut(Schema):
    pipeline: str
    pipeline_hash: str
    cells: Cells


class TestedDatasetOut(Schema):
    name: str
    version: int
    hash: str


class ExperimentLine(Schema):
    experiment: str
    status: Literal["running", "done", "cancelled"]
    dataset: TestedDatasetOut
    seed: int
    pace: Literal["realtime", "fast"]
    repeats: int
    baseline: str
    pipelines: list[TestedPipelineOut]
    cells: Cells
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Turns(Schema):
    """Of turns that are over, what each came to; they add up to `total`."""

    total: int
    on_time: int
    late: int
    early: int
    interrupted: int
    unanswered: int
    missing: int
    cancelled: int
    failed: int


class ExperimentOut(ExperimentLine):
    """`left_s`: seconds that it takes yet, null where nothing tells; `held_up`: what keeps it, a line each."""

    cells: ScoredCells
    warm_up: Cells
    left_s: float | None
    held_up: list[str]
    turns: Turns
    manifest: dict[str, Any]


class CellOut(Schema):
    """One sample through one pipeline, once; `repeat` 0 is warm-up. `session_id` has its turns, once it is queued."""

    cell: str = Field(alias="pk")
    sample: str
    pipeline: str
    repeat: int
    order: int
    status: str
    reason: str
    session_id: str = Field(alias="session")
    attempt: int
    disturbed: int
    started_at: datetime | None
    ended_at: datetime | None

    @staticmethod
    def resolve_sample(row: Cell) -> str:
        return row.sample.sample_id

    @staticmethod
    def resolve_pipeline(row: Cell) -> str:
        return row.pipeline.label
