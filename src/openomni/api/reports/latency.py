"""How long turns and their stages took, as rows of figures, and what became of the turns.

The rows of the database come as plain values and in pieces, and only the numbers stay: 100,000 turns take seconds and
some tens of megabytes. It is synchronous work, for a thread.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...components.kinds import KINDS
from ..ground.caller import Caller
from ..ground.errors import bad_request
from ..records.models import Build, Progress
from .figures import OF_TASKS, OF_TURNS, summary
from .outcomes import OUTCOMES, outcome_of
from .selection import Selected, Selection, select

CHUNK = 5_000
"""Rows that the database hands over at a time."""
MAX_ROWS = 5_000
"""Of a report; who asks for more asks for a row of almost each turn."""
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
    spoken_s: float | None = None
    ended_s: float | None = None


@dataclass(slots=True)
class Measured:
    """All values of a report: by row and figure those that were measured, in seconds; what became of the turns; and by
    what, how many were left out of both."""

    values: dict[tuple[Key, str], array[float]] = field(default_factory=dict)
    turns: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, key: Key, figure: str, value: float | None) -> None:
        if value is None:
            return
        kept = self.values.get((key, figure))
        if kept is None:
            if len(self.values) >= MAX_ROWS:
                bad_request(f"this makes more than {MAX_ROWS:,} rows; tell them apart by less, or ask for fewer turns")
            kept = self.values[key, figure] = array("d")
        kept.append(value)


def report(caller: Caller, wanted: Selection) -> dict[str, Any]:
    """The JSON of `openomni report latency`. Raises `Refusal` for what is too much or isn't there."""
    return told(measure(select(caller, wanted), wanted), wanted)


def told(measured: Measured, wanted: Selection) -> dict[str, Any]:
    """As JSON has it, rows in the order of pipelines, turns before their stages."""
    order = {name: place for place, name in enumerate((*OF_TURNS, *OF_TASKS))}
    kinds = {name: place for place, name in enumerate((TURN, *KINDS))}

    def place(item: tuple[Key, str]) -> tuple[Any, ...]:
        key, figure = item
        named = (key.component or "", key.model or "", key.agent or "")
        by = tuple(value or "" for value in key.by)
        pipeline = (key.pipeline, key.pipeline_hash, not key.live)
        return (*pipeline, by, kinds.get(key.kind, len(kinds)), key.kind, *named, order[figure])

    rows = [
        {**key._asdict(), **dict(zip(wanted.of_turns, key.by, strict=True)), "figure": figure}
        | summary(measured.values[key, figure])
        for key, figure in sorted(measured.values, key=place)
    ]
    for row in rows:
        del row["by"]
    counts = {name: measured.turns[name] for name in OUTCOMES}
    return {
        "rows": rows,
        "turns": {"total": sum(counts.values()), **counts},
        "left_out": {name: measured.left_out[name] for name in ("bench", "warm_up", "superseded")},
    }


def measure(selected: Selected, wanted: Selection) -> Measured:
    """Reads the turns, then their tasks."""
    found = Measured()
    chosen: dict[str, _Of] = dict(_turns(selected, wanted, found))
    statuses = _statuses(wanted)
    models = _models(selected)
    fields = ("turn_id", "kind", "component", "agent", "build", "status", "started_s", "ended_s", *OF_TASKS[:-1])
    # One key for each of the few rows that there are, rather than for each task.
    keys: dict[tuple[Any, ...], Key] = {}
    for turn_id, kind, component, agent, build, status, started, ended, *times in (
        selected.tasks.values_list(*fields).iterator(CHUNK)
    ):  # fmt: skip
        turn = chosen.get(turn_id)
        if turn is None or status not in statuses:
            continue
        if ended is not None:
            turn.ended_s = max(ended, turn.ended_s or ended)
            if kind in _SPEAKS:
                turn.spoken_s = max(ended, turn.spoken_s or ended)
        about = (turn.pipeline, turn.pipeline_hash, turn.live, kind, component, build, agent, turn.by)
        key = keys.get(about)
        if key is None:
            key = keys[about] = Key(*about[:5], models.get(build, ""), agent, turn.by)
        for figure, value in zip(OF_TASKS, times, strict=False):
            found.add(key, figure, value)
        if started is not None and ended is not None:
            found.add(key, OF_TASKS[-1], ended - started)
    for turn in chosen.values():
        key = Key(turn.pipeline, turn.pipeline_hash, turn.live, TURN, None, None, None, turn.by)
        found.add(key, "turn_s", turn.spoken_s if turn.spoken_s is not None else turn.ended_s)
    return found


def _turns(selected: Selected, wanted: Selection, found: Measured) -> Iterator[tuple[str, _Of]]:
    """Counts them all, and gives those whose figures count."""
    columns = [_COLUMNS[name] for name in wanted.of_turns]
    fields = (
        "pk", "pipeline", "pipeline_hash", "session_id", "cell", "status", "outcome", "interrupted", "live", "warm",
        "origin", "voice_to_voice_s", *columns,
    )  # fmt: skip
    statuses, seen = _statuses(wanted), Counter[str]()
    for (
        pk, pipeline, hash_, session, cell, status, outcome, interrupted, live, warm, origin, waited, *by,
    ) in selected.turns.values_list(*fields).iterator(CHUNK):  # fmt: skip
        warm_up = cell != "" and cell in selected.warm_ups
        out = (
            "bench" if origin == "bench" and "bench" not in wanted.include else
            "superseded" if (status == Progress.SUPERSEDED or not selected.counts_in(cell, session))
            and "superseded" not in wanted.include else
            "warm_up" if warm_up and "warm-up" not in wanted.include else ""
        )  # fmt: skip
        if out:
            found.left_out[out] += 1
            continue
        seen[cell] += 1
        found.turns[outcome_of(status, outcome, interrupted, live, waited, wanted.late_after_s)] += 1
        if warm is False and "warm-up" not in wanted.include:
            continue  # somebody waited for it, so it counts above; but a model had to be loaded
        if status not in statuses or (interrupted and "interrupted" not in wanted.include):
            continue
        turn = _Of(pipeline, hash_, live, tuple(map(_text, by)))
        key = Key(pipeline, hash_, live, TURN, None, None, None, turn.by)
        found.add(key, "voice_to_voice_s", waited)
        yield pk, turn
    if selected.plan is not None and selected.whole:
        for key_, cell_ in selected.plan.cells.items():
            counts = not cell_.warm_up or "warm-up" in wanted.include
            if counts and wanted.pipeline in ("", cell_.pipeline, cell_.pipeline_hash):
                found.turns["missing"] += max(cell_.turns - seen[key_], 0)


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


def _statuses(wanted: Selection) -> frozenset[str]:
    """Of turns and tasks whose figures count. Who wants what was interrupted wants the stages that it stopped."""
    more = {
        "failed": Progress.FAILED, "superseded": Progress.SUPERSEDED, "interrupted": Progress.CANCELLED,
    }  # fmt: skip
    return frozenset([str(Progress.COMPLETED), *(str(more[name]) for name in wanted.include if name in more)])


def _models(selected: Selected) -> dict[str, str]:
    """By build, the model or the voice that it ran with; empty for what has none."""
    of_builds = Build.objects.filter(project_id=selected.project_id).order_by()
    return {
        build: str((parameters or {}).get("model") or (parameters or {}).get("voice") or "")
        for build, parameters in of_builds.values_list("hash", "content__parameters").iterator(CHUNK)
    }
