"""The comparison of an experiment's pipelines over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import Field, Query, Router, Schema

from ..accounts.authentication import allow
from ..accounts.models import Scope
from ..ground.caller import AuthedRequest
from ..ground.document import also
from ..ground.fields import Name
from . import comparing, forecasting, foreseeing
from .finding import find

router = Router(tags=["experiments"])
READERS = allow(Scope.VIEWER, whole=True)
Ends = tuple[float, float] | None
Metrics = Annotated[str, Field(max_length=4000, description="names, with commas between")]


class SettledBy(Schema):
    """How many more samples would tell a difference as large as the one seen with 80 % power; null: more than anybody
    would run."""

    more_samples: int | None
    samples: int


class Variance(Schema):
    """Of single runs: between samples, between rounds of repeats, and between runs of one sample."""

    sample: float | None
    repeat: float | None
    rest: float | None
    samples: int
    repeats: int


class Compared(Schema):
    """One pipeline under one metric. Counts are of samples; what the baseline has of itself is null."""

    pipeline: str
    pipeline_hash: str
    planned: int
    run: int
    scored: int
    unanswered: int
    value: float | None
    interval: Ends
    reason: str | None = Field(description="why there is no value")
    difference: float | None
    difference_interval: Ends
    p: float | None
    p_adjusted: float | None
    test: str | None
    paired: int | None
    wins: int | None
    losses: int | None
    ties: int | None
    verdict: Literal["better", "worse", "tied", "too_few"] | None
    undecided_because: str | None = None
    non_inferior: bool | None
    settled_by: SettledBy | None
    variance: Variance | None
    sentence: str


class ComparedMetric(Schema):
    metric: str
    version: str
    unit: str
    statistic: Literal["mean", "p50", "p95", "rate"]
    better: Literal["higher", "lower"]
    kind: Literal["latency", "accuracy", "cost", "other"]
    margin: float | None
    pipelines: list[Compared]


class MetricLeftOut(Schema):
    metric: str
    reason: str


class ByAxis(Schema):
    latency: str | None
    accuracy: str | None
    cost: str | None


class OnFront(Schema):
    """`probability`: of being on the Pareto front; null where a figure that others have is missing."""

    pipeline: str
    latency: float | None
    accuracy: float | None
    cost: float | None
    latency_interval: Ends
    accuracy_interval: Ends
    cost_interval: Ends
    probability: float | None


class Varies(Schema):
    """Of the `samples` that ran more than once, how many did not answer the same each time."""

    pipeline: str
    samples: int
    differ: int
    share: float | None


class PlayedBy(Schema):
    """Cells whose user the same builds played: `player` says in words which."""

    builds: list[str]
    cells: int
    player: str


class ComparisonOut(Schema):
    """`player`: who played the user, in words; several `players`: not the same one in all cells, for it or its voice
    changed in between."""

    experiment: str
    baseline: str
    confidence: float
    metrics: list[ComparedMetric]
    left_out: list[MetricLeftOut]
    axes: ByAxis
    axis_statistics: ByAxis
    front: list[OnFront]
    varies: list[Varies]
    player: str = "the recordings"
    players: list[PlayedBy] = []


class SampleThrough(Schema):
    pipeline: str
    value: float | None
    unanswered: bool
    outcome: Literal["won", "lost", "tied"] | None = Field(description="against the baseline")
    sessions: list[str] = Field(description="of its runs, by repeat")


class ComparedSample(Schema):
    sample: str
    pipelines: list[SampleThrough]


class ComparedSamples(Schema):
    experiment: str
    baseline: str
    metric: str
    version: str
    unit: str
    better: str
    statistic: str
    samples: list[ComparedSample]


class DetectableUnder(Schema):
    metric: str
    unit: str
    difference: float | None


class Detectable(Schema):
    """The smallest difference that is found with the probability `power`: `in_sd`, in standard deviations of a sample's
    paired difference; by metric where an earlier experiment (`measured_in`) says how these scatter."""

    experiment: str
    samples: int
    groups: int
    repeats: int
    comparisons: int
    power: float
    in_sd: float | None
    measured_in: str | None
    metrics: list[DetectableUnder]


class Price(Schema):
    currency: str
    cost: float


class Forecast(Schema):
    """Of what is still to be run: `takes_s` is null where one of its pipelines, `untimed`, never ran at this pace. At
    real-time pace what is said takes `at_least_s`. `costs`: of pipelines whose earlier turns say what they cost."""

    experiment: str
    turns: int
    takes_s: float | None
    at_least_s: float | None
    untimed: list[str]
    costs: list[Price]
    unpriced: list[str]


class ComparisonQuery(Schema):
    baseline: Name = ""
    metrics: Metrics = ""


class SamplesQuery(Schema):
    baseline: Name = ""
    metric: Name = ""


@router.get("/experiments/{name}/comparison", auth=READERS, response=ComparisonOut, summary="Compare the pipelines",
            openapi_extra=also(400))  # fmt: skip
def get_comparison(request: AuthedRequest, name: str, wanted: Query[ComparisonQuery]) -> Any:
    """Per metric each pipeline's figure and its paired difference from the baseline's, over samples."""
    names = [each.strip() for each in wanted.metrics.split(",") if each.strip()]
    return comparing.compared(find(request.auth, name), wanted.baseline, list(dict.fromkeys(names)))


@router.get("/experiments/{name}/comparison/samples", auth=READERS, response=ComparedSamples,
            summary="Compare the pipelines sample by sample")  # fmt: skip
def get_compared_samples(request: AuthedRequest, name: str, wanted: Query[SamplesQuery]) -> Any:
    """Under one metric, each sample's value through each pipeline, and whether it won against the baseline."""
    return comparing.samples(find(request.auth, name), wanted.metric, wanted.baseline)


@router.get("/experiments/{name}/detectable", auth=READERS, response=Detectable,
            summary="The smallest difference that an experiment detects")  # fmt: skip
def get_detectable(request: AuthedRequest, name: str) -> Any:
    """Known before it runs: it follows from the numbers of samples, groups, repeats and pipelines."""
    return foreseeing.detectable(find(request.auth, name))


@router.get("/experiments/{name}/forecast", auth=READERS, response=Forecast,
            summary="What an experiment will take and cost")  # fmt: skip
def get_forecast(request: AuthedRequest, name: str) -> Any:
    """As far as what ran through its pipelines before says it."""
    return forecasting.forecast(find(request.auth, name))
