"""What was measured of an experiment's cells, as the comparison takes it: standing scores, and the time in models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from django.db.models import Q, QuerySet

from ...evaluation import comparison
from ...evaluation.measured import KINDS, STATISTICS, MeasuredCell, MetricInfo
from ...latency import counts
from ..records.models import Task, Turn
from ..scores.giving import standing
from ..scores.models import Metric, Outcome, Score, Target
from .models import Cell, Experiment

MODEL_S = "model_s"
ACCURACIES = ("wer", "cer", "reply_wer", "answer_rate", "unanswered_rate", "early_rate", "cut_rate")
UNANSWERED = ("unanswered", "failed")
"""In a score's detail: how many turns of a run got no answer. Of a latency without a value they say why."""


@dataclass(frozen=True, slots=True)
class ComparedCell:
    """A cell as statistics need it."""

    cell: str
    sample: str
    group: str
    pipeline: str
    repeat: int
    status: str
    session: str

    @property
    def is_over(self) -> bool:
        return self.status in Cell.OVER


@dataclass(slots=True)
class Measurements:
    """Of all cells that count. `texts`: by pipeline and sample, what each repeat answered."""

    runs: list[ComparedCell]
    metrics: dict[str, MetricInfo] = field(default_factory=dict)
    measured: list[MeasuredCell] = field(default_factory=list)
    texts: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def measured_under(self, metric: str) -> list[MeasuredCell]:
        return [each for each in self.measured if each.metric == metric]


def of(experiment: Experiment) -> Measurements:
    """All that was scored of it, whichever metric, by few queries."""
    fields = ("pk", "sample__sample_id", "sample__group", "pipeline__label", "repeat", "status", "session")
    cells = Cell.objects.filter(experiment=experiment, repeat__gt=0).order_by("sample__position", "pipeline", "repeat")
    found = Measurements([ComparedCell(*row) for row in cells.values_list(*fields)])
    by_cell = {run.cell: run for run in found.runs}
    turns = list(_turns(experiment).values_list("pk", "cell", "session_id", "index", "reply_text", "status",
                                                "interrupted", "voice_to_voice_s"))  # fmt: skip
    turns = [row for row in turns if row[1] in by_cell and by_cell[row[1]].session == row[2]]
    _read_texts(found, by_cell, turns)
    scores = _scores(experiment, {row[0]: row[1] for row in turns})
    for metric, rows in sorted(scores.items(), key=lambda each: each[0].name):
        if metric.name not in found.metrics:
            found.metrics[metric.name] = info_of(metric, [score for several in rows.values() for score in several])
            found.measured += _measured(found.runs, found.metrics[metric.name], experiment, rows)
    counting = {row[0]: row[1] for row in turns if counts(row[5], row[6], 0.0)}
    for name, seconds in sorted(_in_models(experiment, counting).items()):
        if name not in found.metrics:
            found.metrics[name] = MetricInfo(name, "1", "s", "lower", "latency")
            found.measured += _timed(found.runs, name, seconds)
    return found


def _turns(experiment: Experiment) -> QuerySet[Turn]:
    cells = Cell.objects.filter(experiment=experiment, repeat__gt=0)
    return Turn.objects.filter(project_id=experiment.project_id, cell__in=cells.values("pk")).order_by("cell", "index")


def _read_texts(found: Measurements, by_cell: Mapping[str, ComparedCell], turns: Sequence[tuple[Any, ...]]) -> None:
    said: dict[str, list[str]] = defaultdict(list)
    for _, cell, _, _, reply, *_ in turns:
        said[cell].append(reply)
    for cell, replies in said.items():
        run = by_cell[cell]
        if run.status == Cell.Status.DONE:
            found.texts.setdefault((run.pipeline, run.sample), []).append("\n".join(replies))


# ---- scores --------------------------------------------------------------------------------------------------


def _scores(experiment: Experiment, turns: Mapping[str, str]) -> dict[Metric, dict[str, list[Score]]]:
    """By metric and cell (or all repeats of a sample), of each name the newest version that has any."""
    cells = Cell.objects.filter(experiment=experiment, repeat__gt=0).values("pk")
    about = Q(target=Target.CELL, target_id__in=cells)
    about |= Q(target=Target.REPEATS, target_id__startswith=f"{experiment.pk}:")
    about |= Q(target=Target.TURN, target_id__in=_turns(experiment).values("pk"))
    rows = standing(Score.objects.filter(about, project_id=experiment.project_id)).select_related("metric")
    found: dict[Metric, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for score in rows:
        key = score.target_id
        if score.target == Target.TURN:
            if key not in turns:
                continue  # of a run that does not count
            key = turns[key]
        found[score.metric][key].append(score)
    newest = {metric.name: metric for metric in sorted(found, key=lambda each: (each.created_at, each.pk))}
    return {metric: found[metric] for metric in newest.values()}


def info_of(metric: Metric, scores: Sequence[Score] = ()) -> MetricInfo:
    """Its kind and its statistic stand in its parameters; where they don't, its name and unit tell. The unit of a cost
    is the currency of its scores; what is in several has no better and no worse."""
    told = metric.parameters
    kind, statistic = told.get("kind"), told.get("statistic")
    if kind not in KINDS:
        kind = "cost" if metric.name == "cost" else "latency" if metric.unit == "s" or metric.name == "rtf" else "other"
        kind = "accuracy" if metric.name in ACCURACIES else kind
    # Of a latency all three are shown, whichever sums it up.
    chosen = (statistic,) if statistic in STATISTICS and kind != "latency" else ()
    currencies = {str(score.detail["currency"]) for score in scores if score.detail.get("currency")}
    unit = metric.unit or (currencies.pop() if kind == "cost" and len(currencies) == 1 else "")
    better = "" if kind == "cost" and len(currencies) > 1 else metric.better
    return MetricInfo(metric.name, metric.version, unit, better, str(kind), chosen)


def _measured(
    runs: Sequence[ComparedCell], info: MetricInfo, experiment: Experiment, scores: Mapping[str, list[Score]]
) -> Iterator[MeasuredCell]:
    repeats = _by_repeats(experiment, scores)
    once: set[tuple[str, str]] = set()
    for run in runs:
        if repeats is not None:
            key = (run.sample, run.pipeline)
            if key not in once:
                once.add(key)
                yield _one(run, info, repeats.get(key, []))
            continue
        yield _one(run, info, scores.get(run.cell, []))


def _by_repeats(experiment: Experiment, scores: Mapping[str, list[Score]]) -> dict[tuple[str, str], list[Score]] | None:
    """Sample and pipeline → scores of all their runs together; None where single runs were scored."""
    if not any(":" in key for key in scores):
        return None
    labels = {str(pk): label for pk, label in experiment.pipelines.values_list("pk", "label")}
    names = {str(pk): name for pk, name in experiment.dataset.rows.values_list("pk", "sample_id")}
    found = {}
    for key, rows in scores.items():
        _, pipeline, sample = key.split(":")
        if pipeline in labels and sample in names:
            found[names[sample], labels[pipeline]] = rows
    return found


def _one(run: ComparedCell, info: MetricInfo, scores: Sequence[Score]) -> MeasuredCell:
    """What its raters, or the scores of its turns, say together."""
    values = [score.value for score in scores if score.outcome == Outcome.SCORED and score.value is not None]
    counted = [pair for pair in map(_counts, scores) if pair is not None]
    errors, total = (sum(each) for each in zip(*counted, strict=True)) if counted else (None, None)
    outcome = _outcome(run, info, scores, values)
    value = fmean(values) if outcome == "scored" else None
    if outcome == "planned" or (run.status == Cell.Status.FAILED and not scores):
        errors = total = None
    return MeasuredCell(run.sample, run.group, run.pipeline, run.repeat, info.name, outcome, value, errors, total)


def _outcome(run: ComparedCell, info: MetricInfo, scores: Sequence[Score], values: Sequence[float]) -> str:
    if not run.is_over:
        return "planned"
    if values:
        return "scored"
    if run.status == Cell.Status.FAILED:
        return "failed"
    if not scores:
        return "skipped"  # nothing scored it yet
    worst = scores[0].outcome
    if info.kind == "latency" and any(score.detail.get(name) for score in scores for name in UNANSWERED):
        return "failed"  # nobody answered: it has no latency because it took endlessly long
    if info.kind == "latency" and worst == Outcome.FAILED:
        return "unparsed"  # the metric failed and not the run, which may have been quick
    return "unparsed" if worst == Outcome.SCORED else str(worst)  # a label is no number


def _counts(score: Score) -> tuple[float, float] | None:
    errors, total = score.detail.get("errors"), score.detail.get("total")
    if not isinstance(errors, (int, float)) or not isinstance(total, (int, float)) or errors < 0 or total < 0:
        return None
    return float(errors), float(total)


# ---- the time in models, where no metric was asked ---------------------------------------------------------------


def _in_models(experiment: Experiment, turns: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """KIND.model_s → cell → seconds in the models of that kind, a turn."""
    by_turn: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    tasks = Task.objects.filter(turn__in=_turns(experiment).values("pk"), status="completed", model_s__isnull=False)
    for turn, kind, seconds in tasks.values_list("turn_id", "kind", "model_s"):
        if turn in turns:
            by_turn[kind][str(turn)] += seconds or 0.0
    found: dict[str, dict[str, float]] = {}
    for kind, times in by_turn.items():
        of_cell: dict[str, list[float]] = defaultdict(list)
        for turn, seconds in times.items():
            of_cell[turns[turn]].append(seconds)
        found[f"{kind}.{MODEL_S}"] = {cell: fmean(each) for cell, each in of_cell.items()}
    return found


def _timed(runs: Sequence[ComparedCell], name: str, seconds: Mapping[str, float]) -> Iterator[MeasuredCell]:
    uses = {run.pipeline for run in runs if run.cell in seconds}
    for run in runs:
        value = seconds.get(run.cell) if run.is_over else None
        outcome = "scored" if value is not None else "not_applicable" if run.is_over else "planned"
        if run.status == Cell.Status.FAILED and value is None and run.pipeline in uses:
            outcome = "failed"
        yield MeasuredCell(run.sample, run.group, run.pipeline, run.repeat, name, outcome, value)


def chosen(found: Measurements, names: Collection[str]) -> list[MetricInfo]:
    """Those of these names, in their order; without names all that are shown by default: what was scored, and the time
    in models; what stands for latency, accuracy and cost first, then the other latencies."""
    if names:
        return [found.metrics[name] for name in names]
    order = {kind: at for at, kind in enumerate(KINDS)}
    leading = {name for name in comparison.axes(found.metrics.values()).values() if name}
    return sorted(
        found.metrics.values(),
        key=lambda info: (info.name not in leading, order[info.kind], info.name.endswith(f".{MODEL_S}")),
    )
