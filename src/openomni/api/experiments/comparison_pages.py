"""The pages of a comparison: which pipeline is better and how sure that is, and one sample through two of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ...errors import OpenOmniError
from ...evaluation.sentences import number
from ..ground.errors import Refusal
from ..look.project_page import page
from ..records import snapshots, waterfall
from ..records.models import Session, Turn
from . import comparing
from .drawing import Plane, Scale, Whisker
from .finding import of_page
from .models import Cell, Experiment

BADGES = {"better": "good", "worse": "bad", "tied": "", "too_few": "warn"}
OUTCOMES = {"won": "good", "lost": "bad", "tied": ""}
STATISTICS = {"mean": "Mean", "p50": "Median (p50)", "p95": "p95", "rate": "Rate"}
SHOWN = 200
"""Samples on a page; the command line lists all."""


@dataclass(frozen=True, slots=True)
class Line:
    """A pipeline under one metric and statistic, in words."""

    row: Mapping[str, Any]
    value: str
    interval: str
    difference: str
    difference_interval: str
    whisker: Whisker | None
    badge: str
    verdict: str

    @classmethod
    def of(cls, row: Mapping[str, Any], scale: Scale) -> Line:
        verdict = row["verdict"]
        return cls(
            row, shown(row["value"]), ends(row["interval"]), shown(row["difference"], signed=True),
            ends(row["difference_interval"]), scale.whisker(row), BADGES.get(verdict or "", "info"),
            "baseline" if verdict is None else verdict.replace("_", " "),
        )  # fmt: skip

    @property
    def reason(self) -> str:
        return str(self.row["reason"] or self.row.get("undecided_because") or "")


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    """One metric under one statistic."""

    entry: Mapping[str, Any]
    title: str
    scale: Scale
    lines: list[Line]

    @property
    def told(self) -> bool:
        return any(line.row["value"] is not None for line in self.lines)


@dataclass(frozen=True, slots=True)
class Shown:
    """One metric with all of its statistics."""

    name: str
    entry: Mapping[str, Any]
    parts: list[ComparedMetric]
    untold: list[str]
    """Statistics that no pipeline has a number for, with the reason."""


@never_cache
@require_safe
@page()
def comparison(request: HttpRequest, name: str) -> HttpResponse:
    """All metrics, each pipeline against the baseline; and the samples under one of them."""
    experiment = of_page(request, name)
    context: dict[str, Any] = {"section": "experiments", "experiment": experiment}
    try:
        found = comparing.compared(experiment, request.GET.get("baseline", ""))
        samples = comparing.samples(experiment, request.GET.get("metric", ""), found["baseline"])
    except (Refusal, OpenOmniError) as error:
        return render(request, "experiments/comparison.html", context | {"failing": str(error)})
    metrics = _shown(found["metrics"])
    first = [name for name in found["axes"].values() if name]
    context |= {
        "found": found,
        "labels": [each["pipeline"] for each in found["front"]],
        "first": [each for each in metrics if each.name in first],
        "more": [each for each in metrics if each.name not in first],
        "words": _words(found),
        "plane": Plane.of(found["front"]),
        "axes": {axis: name for axis, name in found["axes"].items() if name},
        "directions": {each["metric"]: each["better"] for each in found["metrics"]},
        "front": [(at, each, *_on_front(each)) for at, each in enumerate(found["front"], 1)],
        "sentences": _sentences(found, first),
        "varies": [each for each in found["varies"] if each["differ"]],
        "samples": samples,
        "by_sample": _by_sample(samples),
        "all_samples": len(samples["samples"]),
        "limit": SHOWN,
    }
    return render(request, "experiments/comparison.html", context)


@never_cache
@require_safe
@page()
def sample(request: HttpRequest, name: str, sample_id: str) -> HttpResponse:
    """One sample through two pipelines, side by side: their sound, what was said, and where the time went."""
    experiment = of_page(request, name)
    labels = list(comparing.pipelines_of(experiment))
    base = request.GET.get("a") or experiment.baseline
    other = request.GET.get("b") or next((each for each in labels if each != base), base)
    row = experiment.dataset.rows.filter(sample_id=sample_id).first()
    if row is None or base not in labels or other not in labels:
        raise Http404(f"there is no such sample, or no such pipeline, in {name}")
    order = list(experiment.dataset.rows.order_by("position").values_list("sample_id", flat=True))
    at = order.index(sample_id)
    context = {
        "section": "experiments", "experiment": experiment, "sample": row, "labels": labels, "a": base, "b": other,
        "before": order[at - 1] if at else "", "after": order[at + 1] if at + 1 < len(order) else "",
        "said": [each.get("text") or "" for each in row.content.get("utterances", ())],
        "sides": [_side(experiment, row.pk, label, request.GET.get("repeat", "")) for label in (base, other)],
        "repeats": range(1, experiment.repeats + 1), "repeat": request.GET.get("repeat", "") or "1",
        "project": f"?project={experiment.project_id}",
    }  # fmt: skip
    return render(request, "experiments/sample.html", context)


def _shown(entries: Sequence[Mapping[str, Any]]) -> list[Shown]:
    made: dict[str, Shown] = {}
    for entry in entries:
        metric = made.setdefault(entry["metric"], Shown(entry["metric"], entry, [], []))
        scale = Scale.of(entry)
        lines = [Line.of(row, scale) for row in entry["pipelines"]]
        part = ComparedMetric(entry, STATISTICS[entry["statistic"]], scale, lines)
        if part.told:
            metric.parts.append(part)
        else:
            metric.untold.append(f"{part.title}: {next((line.reason for line in lines if line.reason), 'no value')}")
    return list(made.values())


def _words(found: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Per pipeline but the baseline, on each axis the verdict: its metric, the word and its badge."""
    by = found["axis_statistics"]
    chosen = [(axis, name, by[axis]) for axis, name in found["axes"].items() if name]
    rows: dict[str, list[tuple[str, str, str]]] = {}
    for _, name, statistic in chosen:
        for entry in found["metrics"]:
            if (entry["metric"], entry["statistic"]) != (name, statistic):
                continue
            for row in entry["pipelines"]:
                if row["verdict"] is not None:
                    word = row["verdict"]
                    rows.setdefault(row["pipeline"], []).append((name, word.replace("_", " "), BADGES[word]))
    return list(rows.items())


def _on_front(point: Mapping[str, Any]) -> tuple[str, str, str, str]:
    chance = point["probability"]
    told = "–" if chance is None else f"{chance:.0%}"
    return shown(point["latency"]), shown(point["accuracy"]), shown(point["cost"]), told


def _sentences(found: Mapping[str, Any], first: Iterable[str]) -> list[str]:
    by = {name: found["axis_statistics"][axis] for axis, name in found["axes"].items() if name}
    return [
        row["sentence"]
        for entry in found["metrics"]
        if entry["metric"] in first and by.get(entry["metric"]) == entry["statistic"]
        for row in entry["pipelines"]
        if row["verdict"] is not None
    ]


def _by_sample(samples: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        (
            row["sample"],
            [
                {
                    "pipeline": each["pipeline"],
                    "value": "unanswered" if each["unanswered"] else shown(each["value"]),
                    "outcome": each["outcome"],
                    "badge": OUTCOMES.get(each["outcome"] or "", ""),
                }
                for each in row["pipelines"]
            ],
        )
        for row in samples["samples"][:SHOWN]
    ]


def shown(value: float | None, *, signed: bool = False) -> str:
    return "–" if value is None else number(value, signed=signed)


def ends(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{number(interval[0])} to {number(interval[1])}"


@dataclass(frozen=True, slots=True)
class Side:
    """A sample through one pipeline, in one repeat."""

    label: str
    cell: Cell | None
    session: Session | None
    turns: list[tuple[Turn, str]]
    """Each with its timeline."""


def _side(experiment: Experiment, sample: int, label: str, repeat: str) -> Side:
    cells = Cell.objects.filter(experiment=experiment, sample=sample, pipeline__label=label, repeat__gt=0)
    chosen = int(repeat) if repeat.isdecimal() and len(repeat) < 6 else 1
    cell = cells.filter(repeat=chosen).first()
    if cell is None or not cell.session:
        return Side(label, cell, None, [])
    session = Session.objects.filter(pk=cell.session, project_id=experiment.project_id).first()
    if session is None:
        return Side(label, cell, None, [])
    turns = session.turns.order_by("index").prefetch_related(*snapshots.COMPLETE_TURN)
    return Side(label, cell, session, [(turn, waterfall.draw(snapshots.turn_record(turn))) for turn in turns])
