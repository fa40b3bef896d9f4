"""Reports over HTTP."""

from __future__ import annotations

from typing import Any

from ninja import Field, Query, Router, Schema

from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from . import cost, latency
from .query import ScopeQuery, SelectionQuery

router = Router(tags=["reports"])
READERS = allow(Scope.VIEWER)

Interval = tuple[float, float] | None


class LatencyRow(Schema):
    """One figure of one stage, or of whole turns (`kind` "turn"), in seconds. Live and queued turns have rows of their
    own. Quantiles are linear between neighbours, `sd` has n − 1, intervals are 95 %."""

    pipeline: str
    pipeline_hash: str
    live: bool
    kind: str
    component: str | None
    model: str | None
    agent: str | None
    day: str | None = Field(None, description="only where rows are told apart by it, as are the next ones; UTC")
    device: str | None = None
    language: str | None = None
    origin: str | None = None
    participant: str | None = None
    session: str | None = None
    site: str | None = None
    figure: str
    count: int
    mean: float
    sd: float | None
    min: float
    p25: float
    p50: float
    p75: float
    p90: float
    p95: float
    p99: float
    max: float
    mean_interval: Interval = Field(description="by Student's t; null for a single value")
    p95_interval: Interval = Field(description="by order statistics; null where fewer than 10 values lie beyond p95")


class Outcomes(Schema):
    """Each turn counts once: as the first that holds of failed, cancelled, missing, unanswered, interrupted, early,
    late, on_time. The counts add up to `total`."""

    total: int
    on_time: int
    late: int
    early: int
    interrupted: int
    unanswered: int
    failed: int
    cancelled: int
    missing: int


class LeftOut(Schema):
    """Turns that are in no figure and in no count, for they were not asked for."""

    bench: int
    warm_up: int
    superseded: int


class LatencyReport(Schema):
    rows: list[LatencyRow]
    turns: Outcomes
    left_out: LeftOut


@router.get(
    "/reports/latency",
    auth=READERS,
    response=LatencyReport,
    exclude_unset=True,
    summary="How long turns and their stages took",
    openapi_extra=also(400),
)
def report_latency(request: AuthedRequest, wanted: Query[SelectionQuery]) -> Any:
    """Figures are of turns and stages that were completed, not interrupted, no warm-up (no model had to be loaded),
    neither a benchmark's nor superseded, unless `include` says otherwise. A report takes 250,000 turns at most."""
    return latency.report(request.auth, wanted.selection())


class CostRow(Schema):
    """What the turns of a pipeline cost in one currency, as far as it is known."""

    pipeline: str
    pipeline_hash: str
    turns: int
    cost: float | None = Field(description="of all that is known; null where no component says what it costs")
    currency: str | None
    per_turn: float | None = Field(description="mean of the turns of which each stage's cost is known")
    unknown: int = Field(description="turns of which the cost of a stage is not known")


class CostReport(Schema):
    rows: list[CostRow]


@router.get("/reports/cost", auth=READERS, response=CostReport, summary="What turns cost", openapi_extra=also(400))
def report_cost(request: AuthedRequest, wanted: Query[ScopeQuery]) -> Any:
    """Whatever became of a turn, and of the tries at its stages, was paid for. Turns of benchmarks, those whose place
    another one took, and warm-up are left out unless `include` says otherwise."""
    return cost.report(request.auth, wanted.selection())
