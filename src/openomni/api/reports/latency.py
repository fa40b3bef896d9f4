"""How long turns and their stages took, as rows of figures, and what became of the turns.

The rows of the database come as plain values and in pieces, and only the numbers stay: 100,000 turns take seconds and
some tens of megabytes. It is synchronous work, for a thread.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...components.kinds import KINDS
from ..ground.caller import Caller
from ..ground.errors import bad_request
from ..records.models import Build
from .figures import OF_TASKS, OF_TURNS, summary
from .outcomes import OUTCOMES, outcome_of
from .selection import Selected, Selection, select

CHUNK = 5_000
"""Rows that the database hands over at a time."""
MAX_KEYS = 2_000
"""Of what tells rows apart, so many at most: who asks for more asks for a row of almost each turn."""
TURN = "turn"
"""In place of a kind, of what is about the whole turn."""
_SPEAKS = {kind.name for kind in KINDS.values() if "voice" in (*kind.gives, *kind.may_give)}


class Key(NamedTuple):
    """What tells rows apart. `by`: values of `Selection.of_turns`."""

    pipeline: str
    pipeline_hash: str
    live: bool
    kind: str
    component: str | None
    model: str | None
    agent: str | None
    by: tuple[str | None, ...]


@dataclass(slots=True)
class _Of:
    """A turn whose figures count: what its rows are told apart by, and when its reply's last sound was made."""

    pipeline: str
    pipeline_hash: str
    live: bool
    by: tuple[str | None, ...]
    statuses: frozenset[str]
    """Of the stages that count."""
    spoken_s: float | None = None
    ended_s: float | None = None

    @property
    def key(self) -> Key:
        return Key(self.pipeline, self.pipeline_hash, self.live, TURN, None, None, None, self.by)


@dataclass(slots=True)
class ReportedValues:
    """All values of a report: by what tells rows apart and by figure those that were measured, in seconds; what became
    of the turns; and by what, how many were left out of both."""

    values: dict[Key, dict[str, array[float]]] = field(default_factory=dict)
    turns: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def of(self, key: Key, figures: Sequence[str]) -> list[array[float]]:
        """Where the values of these figures go, in their order."""
        kept = self.values.get(key)
        if kept is None:
            if len(self.values) >= MAX_KEYS:
                bad_request(
                    f"this makes rows of more than {MAX_KEYS:,} stages; tell them apart by less, or ask for fewer turns"
                )
            kept = self.values[key] = {name: array("d") for name in figures}
        return [kept[name] for name in figures]


def report(caller: Caller, wanted: Selection) -> dict[str, Any]:
    """The JSON of `openomni report latency`. Raises `Refusal` for what is too much or isn't there."""
    return told(measure(select(caller, wanted), wanted), wanted)


def told(measured: ReportedValues, wanted: Selection) -> dict[str, Any]:
    """As JSON has it, rows in the order of pipelines, turns before their stages."""
    kinds = {name: place for place, name in enumerate(KINDS)}

    def place(key: Key) -> tuple[Any, ...]:
        named = (key.component or "", key.model or "", key.agent or "")
        pipeline = (key.pipeline, key.pipeline_hash, not key.live)
        # What is about whole turns first; there is a kind of component of that name, too.
        return (*pipeline, key.by, key.component is not None, kinds.get(key.kind, len(kinds)), key.kind, *named)

    rows = [
        {name: value for name, value in key._asdict().items() if name != "by"}
        | {**dict(zip(wanted.of_turns, key.by, strict=True)), "figure": figure, **summary(values)}
        for key in sorted(measured.values, key=place)
        for figure, values in measured.values[key].items()
        if values
    ]
    counts = {name: measured.turns[name] for name in OUTCOMES}
    return {
        "rows": rows,
        "turns": {"total": sum(counts.values()), **counts},
        "left_out": {name: measured.left_out[name] for name in ("bench", "warm_up", "superseded")},
    }


def measure(selected: Selected, wanted: Selection) -> ReportedValues:
    """Reads the turns, then their tasks."""
    found = ReportedValues()
    chosen: dict[str, _Of] = dict(_turns(selected, wanted, found))
    models = _models(selected)
    fields = ("turn_id", "kind", "component", "agent", "build", "status", "started_s", "ended_s", *OF_TASKS[:-1])
    # Looked up once for each task, so by what is at hand.
    known: dict[tuple[Any, ...], list[array[float]]] = {}
    for turn_id, kind, component, agent, build, status, started, ended, *times in (
        selected.tasks.values_list(*fields).iterator(CHUNK)
    ):  # fmt: skip
        turn = chosen.get(turn_id)
        if turn is None or status not in turn.statuses:
            continue
        if ended is not None:
            turn.ended_s = ended if turn.ended_s is None else max(ended, turn.ended_s)
            if kind in _SPEAKS:
                turn.spoken_s = ended if turn.spoken_s is None else max(ended, turn.spoken_s)
        about = (turn.pipeline_hash, turn.pipeline, turn.live, kind, component, build, agent, turn.by)
        columns = known.get(about)
        if columns is None:
            of = (turn.pipeline, turn.pipeline_hash, turn.live, kind, component, models.get(build, ""), agent, turn.by)
            columns = known[about] = found.of(Key(*of), OF_TASKS)
        for column, value in zip(columns, times, strict=False):
            if value is not None:
                column.append(value)
        if started is not None and ended is not None:
            columns[-1].append(ended - started)
    for turn in chosen.values():
        last = turn.spoken_s if turn.spoken_s is not None else turn.ended_s
        if last is not None:
            found.of(turn.key, OF_TURNS)[1].append(last)
    return found


def _turns(selected: Selected, wanted: Selection, found: ReportedValues) -> Iterator[tuple[str, _Of]]:
    """Counts them all, and gives those whose figures count."""
    columns = [_COLUMNS[name] for name in wanted.of_turns]
    fields = (
        "pk", "pipeline", "pipeline_hash", "given_up", "cell", "status", "outcome", "interrupted", "live", "warm",
        "origin", "voice_to_voice_s", *columns,
    )  # fmt: skip
    seen = Counter[str]()
    whole = frozenset(["completed", *wanted.include & {"failed", "superseded"}])
    # Who wants what was interrupted wants the stages that were stopped by that, too.
    stopped = whole | {"cancelled"} if "interrupted" in wanted.include else frozenset[str]()
    for (
        pk, pipeline, hash_, given_up, cell, status, outcome, interrupted, live, warm, origin, waited, *by,
    ) in selected.turns.values_list(*fields).iterator(CHUNK):  # fmt: skip
        if out := selected.left_out(wanted, origin, status, cell, given_up):
            found.left_out[out] += 1
            continue
        seen[cell] += 1
        found.turns[outcome_of(status, outcome, interrupted, live, waited, wanted.late_after_s)] += 1
        if warm is False and "warm-up" not in wanted.include:
            continue  # somebody waited for it, so it counts above; but a model had to be loaded
        statuses = stopped if interrupted else whole
        if status not in statuses:
            continue
        turn = _Of(pipeline, hash_, live, tuple(map(_text, by)), statuses)
        if waited is not None:
            found.of(turn.key, OF_TURNS)[0].append(waited)
        yield pk, turn
    if selected.plan is not None and selected.whole:
        for key_, cell_ in selected.plan.cells.items():
            counts = not cell_.warm_up or "warm-up" in wanted.include
            if counts and wanted.pipeline in ("", cell_.pipeline, cell_.pipeline_hash):
                found.turns[cell_.absent] += max(cell_.turns - seen[key_], 0)


_COLUMNS = {
    "day": "created_at",
    "device": "session__device",
    "language": "language",
    "origin": "origin",
    "participant": "participant",
    "session": "session_id",
    "site": "session__site",
}


def _text(value: Any) -> str:
    """A day is that of UTC on which the turn was recorded."""
    return value if isinstance(value, str) else f"{value:%Y-%m-%d}"


def _models(selected: Selected) -> dict[str, str]:
    """By build, the model or the voice that it ran with; empty for what has none."""
    of_builds = Build.objects.filter(project_id=selected.project_id).order_by()
    return {
        build: str((parameters or {}).get("model") or (parameters or {}).get("voice") or "")
        for build, parameters in of_builds.values_list("hash", "content__parameters").iterator(CHUNK)
    }
