"""Scores what an experiment ran, by programs: in a child process, a few cells at a time, and never twice.

A score says of which run it is (`run` in its detail), so that what is scored under a version of a metric is left alone
until its cell is run again, or somebody wants it `again`. Runs are read in batches, and written when all metrics have
seen them: a server that dies loses one batch, and whoever asks once more goes on from there.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db import connections, transaction

from ...errors import OpenOmniError
from ...metrics import Result, Run, RunTurn
from ...metrics.results import line
from ...metrics.runs import SoundAwaited
from ...metrics.scorer import CALL_S, Described, Scorer, ScorerClosed
from ..records.models import Recording, Turn
from ..scores.giving import ScoreRefused, give
from ..scores.models import Metric, Outcome, Rater, Score, Target
from . import scoring_choice
from .models import Cell, Experiment
from .planning import WARM_UP
from .run_reading import Sounds, runs_of

log = logging.getLogger("openomni.api")

BATCH = 20
"""Cells that are read and written together."""
SLOW = 3
"""Calls in a row that take too long, after which a metric is set aside for the rest."""
AWAIT_S = 30.0
"""How long the sound of replies is waited for: agents bring it after the turn."""
LOOK_EVERY_S = 0.5


@dataclass(slots=True)
class Count:
    """How far one metric is: of `planned` targets so many have a score of each outcome; `awaited` ones want a sound
    that is not here yet. `problem`: why it scores nothing; `reason`: why the last that failed did."""

    metric: str
    version: str = ""
    takes: str = ""
    unit: str = ""
    planned: int = 0
    scored: int = 0
    not_applicable: int = 0
    unparsed: int = 0
    failed: int = 0
    skipped: int = 0
    awaited: int = 0
    problem: str = ""
    reason: str = ""

    def add(self, outcome: str, reason: str) -> None:
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome == Outcome.FAILED and reason:
            self.reason = reason


@dataclass(slots=True)
class Progress:
    running: bool = True
    again: bool = False
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: list[Count] = field(default_factory=list)


@dataclass(slots=True)
class _Asked:
    """A metric that is to score, with its rows. `name`: as it was asked for."""

    name: str
    described: Described
    metric: Metric
    rater: Rater
    parameters: Mapping[str, Any]
    count: Count

    @property
    def target(self) -> Target:
        return Target(self.described.takes)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One target. `failed`: why its run did; a latency has none then, while what counts errors counts those of it."""

    target_id: str
    run: str
    given: RunTurn | Run | tuple[Run, ...]
    cells: tuple[str, ...]
    failed: str = ""


_scorers: set[Scorer] = set()
_locks: dict[int, threading.Lock] = defaultdict(threading.Lock)
_progress: dict[int, Progress] = {}
_beginning = threading.Lock()
_stopped = threading.Event()


def score(
    experiment: Experiment, names: Sequence[str] = (), *, again: bool = False,
    parameters: Mapping[str, Mapping[str, Any]] | None = None, progress: Progress | None = None,
    call_s: float = CALL_S, await_s: float = AWAIT_S,
) -> Progress:  # fmt: skip
    """Scores all cells that have ended, warm-up left out, under these metrics; without names, under those that it
    states or that fit its dataset. Returns when that is done; a second caller waits for the first.

    A metric that can't be had is a `problem` of its own; one that raises, hangs or gives no number has failed there,
    with the reason. Raises nothing but what the database raises, and ScorerClosed when the server stops.
    """
    progress = progress or Progress(
        again=again, parameters={name: dict(each) for name, each in (parameters or {}).items()}
    )
    with _locks[experiment.pk], Scorer(call_s=call_s) as scorer:
        _progress[experiment.pk] = progress
        _scorers.add(scorer)
        try:
            if _stopped.is_set():
                raise ScorerClosed("scoring was stopped")
            asked = [each for name in scoring_choice.chosen(experiment, names)
                     if (each := _ask(experiment, scorer, name, progress)) is not None]  # fmt: skip
            _await_sounds(experiment, await_s)
            _Scoring(experiment, scorer, asked, progress.again).all()
        finally:
            progress.running = False
            _scorers.discard(scorer)
    return progress


def begin(experiment: Experiment, names: Sequence[str], again: bool, parameters: Mapping[str, Any]) -> Progress:
    """As `score`, in a thread of its own: gives at once how far it is. What is being scored is not begun once more."""
    with _beginning:
        going = _progress.get(experiment.pk)
        if going is not None and going.running:
            return going
        progress = _progress[experiment.pk] = Progress(again=again, parameters=dict(parameters))

    def run() -> None:
        try:
            score(experiment, names, progress=progress)
        except ScorerClosed:
            pass
        except Exception:
            log.exception("experiment %s could not be scored", experiment)
        finally:
            progress.running = False
            connections.close_all()

    threading.Thread(target=run, name=f"scoring {experiment.pk}", daemon=True).start()
    return progress


def last(experiment: Experiment) -> Progress | None:
    """How far the scoring of an experiment is that runs, or ran last, in this process."""
    return _progress.get(experiment.pk)


def start() -> Callable[[], None]:
    """Gives what ends all scoring when the server stops."""
    _stopped.clear()

    def stop() -> None:
        _stopped.set()
        for scorer in list(_scorers):
            scorer.close()

    return stop


def run_of(sessions: Sequence[str]) -> str:
    """What stands in a score for the runs that it is of."""
    return sessions[0] if len(sessions) == 1 else hashlib.sha256(" ".join(sessions).encode()).hexdigest()[:16]


# ---- the metrics ---------------------------------------------------------------------------------------------


def _ask(experiment: Experiment, scorer: Scorer, name: str, progress: Progress) -> _Asked | None:
    count = Count(name)
    progress.metrics.append(count)
    parameters = progress.parameters.get(name, {})
    try:
        described = scorer.describe(name, parameters)
        count.version, count.takes, count.unit = described.version, described.takes, described.unit
        asked = _Asked(name, described, *rows_of(experiment.project_id, described), parameters, count)
        scorer.warm_up(name, parameters)
    except ScorerClosed:
        raise
    except OpenOmniError as error:
        count.problem = line(error)
        return None
    return asked


def rows_of(project_id: str, described: Described) -> tuple[Metric, Rater]:
    """The rows of a metric in its version, and of the program that scores by it. Raises `ScoreRefused` where that
    version meant something else before."""
    said = {"kind": described.kind, "statistic": described.statistic, "package": described.package}
    metric, _ = Metric.objects.get_or_create(
        project_id=project_id, name=described.name, version=described.version,
        defaults={"takes": described.takes, "unit": described.unit, "better": described.better,
                  "description": described.description, "parameters": said | described.parameters},
    )  # fmt: skip
    if (metric.takes, metric.unit, metric.better) != (described.takes, described.unit, described.better):
        raise ScoreRefused(
            f"{metric} took a {metric.takes} before, in {metric.unit or 'no unit'}; give it another version"
        )
    rater, _ = Rater.objects.get_or_create(
        project_id=project_id, kind=Rater.Kind.PROGRAM, name=described.name, version=described.version
    )
    return metric, rater


# ---- the cells -----------------------------------------------------------------------------------------------


class _Scoring:
    def __init__(self, experiment: Experiment, scorer: Scorer, asked: Sequence[_Asked], again: bool) -> None:
        self._experiment, self._scorer, self._again = experiment, scorer, again
        self._single = [each for each in asked if each.target != Target.REPEATS]
        self._repeated = [each for each in asked if each.target == Target.REPEATS]

    def all(self) -> None:
        counted = Cell.objects.filter(experiment=self._experiment).exclude(repeat=WARM_UP)
        for asked in self._single:
            asked.count.planned = counted.count() if asked.target == Target.CELL else 0
        rows = counted.select_related("sample", "pipeline")
        if self._single:
            keys = list(counted.filter(status__in=Cell.OVER).order_by("order").values_list("pk", flat=True))
            for some in _some(keys, BATCH):
                self._batch(self._single, list(rows.filter(pk__in=some).order_by("order")))
        if self._repeated:
            self._repeats(rows)

    def _repeats(self, rows: Any) -> None:
        """Each sample through each pipeline, once all of its repeats are over."""
        groups: dict[tuple[int, int], list[tuple[str, str]]] = defaultdict(list)
        for key, pipeline, sample, status in rows.order_by("order").values_list("pk", "pipeline", "sample", "status"):
            groups[pipeline, sample].append((key, status))
        for asked in self._repeated:
            asked.count.planned = len(groups)
        over = [
            [key for key, _ in cells] for cells in groups.values() if all(status in Cell.OVER for _, status in cells)
        ]
        for some in _some(over, max(BATCH // max(map(len, over), default=1), 1)):
            keys = [key for cells in some for key in cells]
            self._batch(self._repeated, list(rows.filter(pk__in=keys).order_by("repeat")))

    def _batch(self, asked: Sequence[_Asked], cells: list[Cell]) -> None:
        runs, sounds = runs_of(self._experiment, cells)
        wanted = {each.target: list(_wanted(each.target, cells, runs)) for each in asked}
        left = {each.name: self._left(each, wanted[each.target]) for each in asked}
        # A run at a time, under all metrics: its sounds are decoded once.
        made = [
            (metric, each, *came)
            for target, several in wanted.items()
            for each in several
            for metric in asked
            if metric.target == target and each.target_id in left[metric.name]
            if (came := self._came(metric, each, sounds)) is not None
        ]
        self._write(made)

    def _left(self, asked: _Asked, wanted: Sequence[_Wanted]) -> set[str]:
        """Those that are to be scored; what was is counted."""
        if asked.target == Target.TURN:
            asked.count.planned += len(wanted)
        left = {each.target_id: each.run for each in wanted}
        if self._again:
            return set(left)
        kept = Score.objects.filter(metric=asked.metric, rater=asked.rater, target=asked.target, target_id__in=left)
        found = {score.target_id: score for score in kept.order_by("revision")}
        for target_id, score in found.items():
            if score.detail.get("run") == left[target_id]:
                asked.count.add(score.outcome, score.reason)
                del left[target_id]
        return set(left)

    def _came(self, asked: _Asked, wanted: _Wanted, sounds: Sounds) -> tuple[Outcome, Result] | None:
        """None while it wants a sound that is on its way."""
        if wanted.failed and (asked.target == Target.REPEATS or asked.metric.parameters.get("kind") == "latency"):
            return Outcome.FAILED, Result(outcome="failed", reason=line(wanted.failed))
        if self._scorer.late[asked.name] >= SLOW:
            why = f"it took too long {SLOW} times in a row, and was set aside; mend it, and score again"
            return Outcome.SKIPPED, Result(outcome="failed", reason=why)
        try:
            result = self._scorer.measure(asked.name, wanted.given, asked.parameters)
        except SoundAwaited:
            asked.count.awaited += 1
            return None
        return Outcome(result.outcome), msgspec.structs.replace(result, reason=sounds.plain(result.reason))

    def _write(self, made: Sequence[tuple[_Asked, _Wanted, Outcome, Result]]) -> None:
        with transaction.atomic():
            cells = {cell for _, wanted, _, _ in made for cell in wanted.cells}
            # What was erased meanwhile is not scored any more.
            there = set(Cell.objects.filter(pk__in=cells).values_list("pk", flat=True))
            for asked, wanted, outcome, result in made:
                if not there.issuperset(wanted.cells):
                    continue
                run = {"run": wanted.run}
                about = (asked.metric, asked.rater, asked.target, wanted.target_id)
                try:
                    give(*about, outcome=outcome, value=result.value, label=result.label, reason=result.reason,
                         detail={**result.detail, **run})  # fmt: skip
                except ScoreRefused as refused:
                    outcome, reason = Outcome.FAILED, line(str(refused))
                    give(*about, outcome=outcome, reason=reason, detail=run)
                    asked.count.add(outcome, reason)
                else:
                    asked.count.add(outcome, result.reason)


def _wanted(target: Target, cells: Sequence[Cell], runs: Mapping[str, Run]) -> Iterator[_Wanted]:
    if target == Target.REPEATS:
        groups: dict[str, list[Cell]] = defaultdict(list)
        for cell in cells:
            groups[f"{cell.experiment_id}:{cell.pipeline_id}:{cell.sample_id}"].append(cell)
        for target_id, several in groups.items():
            run = run_of([_run(cell) for cell in several])
            failed = next((cell for cell in several if cell.status == Cell.Status.FAILED), None)
            given = tuple(runs[cell.pk] for cell in several)
            reason = (
                f"repeat {failed.repeat} failed: {failed.reason or 'nobody said why'}" if failed is not None else ""
            )
            yield _Wanted(target_id, run, given, tuple(cell.pk for cell in several), reason)
        return
    for cell in cells:
        found = runs[cell.pk]
        reason = f"its run failed: {cell.reason or 'nobody said why'}" if cell.status == Cell.Status.FAILED else ""
        if target == Target.CELL:
            yield _Wanted(cell.pk, _run(cell), found, (cell.pk,), reason)
        else:
            for turn in found.turns:
                yield _Wanted(turn.turn_id, _run(cell), turn, (cell.pk,))


def _run(cell: Cell) -> str:
    return cell.session or f"{cell.pk}.{cell.attempt}"


def _some(keys: Sequence[Any], many: int) -> Iterator[Sequence[Any]]:
    for at in range(0, len(keys), many):
        yield keys[at : at + many]


def _await_sounds(experiment: Experiment, seconds: float) -> None:
    """Returns once the sound of all replies is here, or when it was waited for long enough."""
    cells = Cell.objects.filter(experiment=experiment, status=Cell.Status.DONE).values("pk")
    spoken = Turn.objects.filter(project_id=experiment.project_id, cell__in=cells).exclude(reply_audio="")
    until = time.monotonic() + seconds
    while True:
        complete = Recording.objects.filter(pk__in=spoken.values("reply_audio"), status=Recording.Status.COMPLETE)
        if complete.count() >= spoken.count() or time.monotonic() > until or _stopped.is_set():
            return
        time.sleep(LOOK_EVERY_S)
