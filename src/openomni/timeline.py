"""A turn laid out along its time, for whoever draws it: what owned each instant, and what each stage did meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

LABELS: Mapping[str, str] = {
    "end_of_turn": "end of turn",
    "queue": "queue",
    "lost": "lost attempts",
    "transfer": "transfer",
    "load": "load",
    "model": "model",
    "aggregation": "aggregation",
    "playback": "playback",
    "residue": "residue",
    "other": "waiting for input",
}
"""What time goes to, in words for people, in the order of a legend. `other`: of a stage beside the path."""
OF_STAGES = ("queue", "lost", "transfer", "load", "model")
"""What a stage's own time goes to, one after the other."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seconds from the last user speech sample; `stage` is `kind:component`, or empty."""

    what: str
    start_s: float
    end_s: float
    stage: str = ""

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Row:
    """An owner of some of the path, or a stage that worked beside it."""

    what: str
    """`stage`, or what else owns it: `end_of_turn`, `residue`, …"""
    kind: str = ""
    component: str = ""
    status: str = ""
    reason: str = ""
    path: list[Stretch] = field(default_factory=list)
    """What it owned of the way to the first sound."""
    work: list[Stretch] = field(default_factory=list)
    """What a stage did from its start to its end."""

    @property
    def label(self) -> str:
        return f"{self.kind} {self.component}" if self.what == "stage" else LABELS.get(self.what, self.what)

    @property
    def seconds(self) -> float:
        """What it owned of the path."""
        return sum(stretch.seconds for stretch in self.path)


@dataclass(frozen=True, slots=True)
class Layout:
    """`path`: the owner of each instant, oldest first. `rows`: in the order in which each first owned one; stages that
    owned none follow, and the residue is last."""

    path: list[Stretch]
    rows: list[Row]

    @property
    def end_s(self) -> float:
        """The end of the path; 0 where nothing is on it."""
        return max((stretch.end_s for stretch in self.path), default=0.0)

    @property
    def span(self) -> tuple[float, float] | None:
        """From the first to the last that is to be drawn, 0 included; None when nothing was timed."""
        all_of_it = [*self.path, *(stretch for row in self.rows for stretch in row.work)]
        started = [row.work[0].start_s for row in self.rows if row.work]
        return (min(0.0, *started, 0.0), max(each.end_s for each in all_of_it)) if all_of_it else None

    def shares(self) -> dict[str, float]:
        """Seconds of the path by what they went to, the residue included even when it is nothing."""
        shares = dict.fromkeys(LABELS, 0.0)
        for stretch in self.path:
            shares[stretch.what] = shares.get(stretch.what, 0.0) + stretch.seconds
        return {what: seconds for what, seconds in shares.items() if seconds > 0 or what == "residue"}


def layout(turn: Mapping[str, Any]) -> Layout:
    """Of a turn's JSON (`records.TurnRecord`); what it says of things that are not known here is laid out like them."""
    path = [
        Stretch(part["what"], float(part["start_s"]), float(part["end_s"]), part.get("stage", ""))
        for part in turn.get("parts") or []
    ]
    # One that was superseded owned nothing, and may have the name of the one that did.
    waiting = sorted(turn.get("stages") or [], key=lambda stage: stage["status"] == "superseded")
    owners: dict[tuple[str, str], list[Stretch]] = {}
    for stretch in path:
        owner = ("stage", stretch.stage) if stretch.what in OF_STAGES and stretch.stage else (stretch.what, "")
        owners.setdefault(owner, []).append(stretch)
    rows = []
    for (what, name), owned in owners.items():
        stage = next((each for each in waiting if what == "stage" and _name(each) == name), None)
        if stage is not None:
            waiting.remove(stage)
            rows.append(_row(stage, owned))
        else:  # a client is a stage of the path that has no task
            kind, _, component = name.partition(":")
            rows.append(Row(what, kind, component, path=owned))
    rows += [_row(stage, []) for stage in waiting]
    return Layout(path, sorted(rows, key=lambda row: row.what == "residue"))


def _name(stage: Mapping[str, Any]) -> str:
    return f"{stage['kind']}:{stage['component']}"


def _row(stage: Mapping[str, Any], owned: list[Stretch]) -> Row:
    return Row(
        "stage", stage["kind"], stage["component"], stage["status"], stage.get("reason") or "", owned,
        list(_work(stage)),
    )  # fmt: skip


def _work(stage: Mapping[str, Any]) -> Iterator[Stretch]:
    """One after the other; in what remains of its time, it waited for input."""
    start = stage.get("started_s")
    if start is None:
        return
    name, cursor = _name(stage), float(start)
    figures = {what: float(stage.get(f"{what}_s") or 0.0) for what in OF_STAGES}
    # One that never ended counts as far as its own figures go.
    ended = stage.get("ended_s")
    end = float(ended) if ended is not None else cursor + sum(figures.values())
    for what, seconds in figures.items():
        stop = min(cursor + seconds, end)
        if stop > cursor:
            yield Stretch(what, cursor, stop, name)
            cursor = stop
    if end > cursor:
        yield Stretch("other", cursor, end, name)


def hours_and_minutes(seconds: float) -> str:
    """1:02:03, or 2:03: whole seconds that have passed."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
