"""Which turns a report is about: what is asked for, and what is left out unless it is asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db.models import Exists, Q, QuerySet

from ..ground.caller import Caller
from ..ground.errors import bad_request, not_found
from ..pipelines import catalogue
from ..records.models import Progress, Task, Turn

MAX_TURNS = 250_000
"""Of one report: it is computed while somebody waits for it."""
MOST_NAMES = 1_000
"""That are looked through for what somebody may have meant."""
INCLUDED = ("bench", "warm-up", "interrupted", "failed", "superseded")
"""What is left out of figures unless it is asked for."""
BY = ("agent", "component", "day", "device", "language", "model", "origin", "participant", "session", "site")
"""By what rows may be told apart. Every row has its agent, component and model anyhow."""
OF_TURNS = tuple(name for name in BY if name not in ("agent", "component", "model"))
"""Those of them that a row has only when it is asked for."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell of an experiment as a report needs it."""

    pipeline: str
    pipeline_hash: str
    session: str
    """That of the run that counts; empty where none is known yet."""
    turns: int
    """How many utterances its sample has, which is how many turns it is to have."""
    warm_up: bool
    absent: str = "missing"
    """What those of them are counted as that there are not: `failed` and `cancelled` with their cell."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of an experiment: by id, and as a query that gives their ids."""

    cells: Mapping[str, PlannedCell]
    ids: QuerySet[Any, Any]


class Experiments(Protocol):
    """What the app of experiments, which stands above this one, tells of them."""

    def plan(self, caller: Caller, name: str) -> Plan:
        """Of an experiment. Raises `Refusal` where there is none of that name."""

    def warm_ups(self, project_id: str) -> Collection[str]:
        """Ids of all cells of the project that are warm-up."""

    def given_up(self) -> Exists:
        """Of a row of turns: whether it is of a run that doesn't count. A cell that was cancelled or disturbed has such
        turns, too."""


_tellers: list[Experiments] = []


def tells_of_experiments(teller: Experiments) -> None:
    """Called once by the app of experiments, when it is ready."""
    _tellers[:] = [teller]


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for. An empty text, and None, ask for all."""

    pipeline: str = ""
    """A name or a hash."""
    experiment: str = ""
    since: datetime | None = None
    """Turns that were recorded from then on."""
    session: str = ""
    participant: str = ""
    origin: str = ""
    include: frozenset[str] = frozenset()
    """Of `INCLUDED`."""
    by: tuple[str, ...] = ()
    """Of `BY`."""
    late_after_s: float = 3.0

    @property
    def of_turns(self) -> tuple[str, ...]:
        return tuple(name for name in OF_TURNS if name in self.by)


@dataclass(frozen=True, slots=True)
class Selected:
    """The rows that a caller may see and asked for."""

    project_id: str
    turns: QuerySet[Any, Any]
    """Each says whether it is `given_up`: of a run that doesn't count, for its cell has another one."""
    tasks: QuerySet[Task]
    warm_ups: Collection[str]
    """Ids of cells that are warm-up."""
    plan: Plan | None = None
    """That of the experiment where one is asked for."""
    whole: bool = False
    """All turns of the plan are asked for, so those of its cells that aren't there are missing."""

    def left_out(self, wanted: Selection, origin: str, status: str, cell: str, given_up: bool) -> str:
        """Why a turn is in no figure and in no count: `bench`, `superseded` or `warm_up`; empty for one that is in.
        `given_up`: it is of a run that doesn't count."""
        if origin == "bench" and "bench" not in wanted.include:
            return "bench"
        if (given_up or status == Progress.SUPERSEDED) and "superseded" not in wanted.include:
            return "superseded"
        warm_up = cell != "" and cell in self.warm_ups
        return "warm_up" if warm_up and "warm-up" not in wanted.include else ""


def select(caller: Caller, wanted: Selection) -> Selected:
    """The rows of a selection.

    Raises:
        Refusal: there is no such experiment or pipeline (404), or there are more turns than a report takes (400).
    """
    plan = _tellers[0].plan(caller, wanted.experiment) if wanted.experiment else None
    turns = Turn.objects.of_caller(caller).filter(_condition(wanted, plan)).order_by()
    number = turns.count()
    if number > MAX_TURNS:
        bad_request(
            f"these are {number:,} turns, and a report takes {MAX_TURNS:,}; ask for fewer, by `since` or `pipeline`"
        )
    if plan is not None:
        warm_ups: Collection[str] = {key for key, cell in plan.cells.items() if cell.warm_up}
    else:
        warm_ups = frozenset(_tellers[0].warm_ups(caller.project_id))
    narrowed = wanted.since or wanted.session or wanted.participant or wanted.origin or caller.limits
    tasks = Task.objects.filter(turn__in=turns.values("pk")).order_by()
    if not number and wanted.pipeline and plan is None:
        _check_pipeline(caller, wanted.pipeline)
    turns = turns.annotate(given_up=_tellers[0].given_up())
    return Selected(caller.project_id, turns, tasks, warm_ups, plan, plan is not None and not narrowed)


def _check_pipeline(caller: Caller, named: str) -> None:
    """One that there is may have no turn yet; a name that nothing has is misspelt. Raises Refusal, 404."""
    known = {each for found in catalogue.everything(caller.project_id) for each in (found.name, found.hash)}
    of_turns = Turn.objects.of_caller(caller).order_by()
    for field in ("pipeline", "pipeline_hash"):
        known |= set(of_turns.values_list(field, flat=True).distinct()[:MOST_NAMES])
    if named not in known:
        not_found("pipeline", named, sorted(known - {""}))


def _condition(wanted: Selection, plan: Plan | None) -> Q:
    asked = Q()
    if wanted.pipeline:
        asked &= Q(pipeline=wanted.pipeline) | Q(pipeline_hash=wanted.pipeline)
    if plan is not None:
        asked &= Q(cell__in=plan.ids)
    if wanted.since is not None:
        asked &= Q(created_at__gte=wanted.since)
    for name, field in (("session", "session_id"), ("participant", "participant"), ("origin", "origin")):
        if value := getattr(wanted, name):
            asked &= Q(**{field: value})
    return asked
