"""Each kind of stage by itself: `KIND.model_s` and `KIND.ttfb_s`, such as `stt.model_s`."""

from __future__ import annotations

from typing import Literal

from ..components.kinds import KINDS
from .declaring import metric
from .results import Measured, NotApplicable, not_applicable
from .runs import Run, RunTurn
from .waiting import mean_of

Figure = Literal["model_s", "ttfb_s"]
ABOUT = {
    "model_s": "Seconds inside the components of kind {kind}, a turn; where a pipeline has several, their sum.",
    "ttfb_s": "Seconds until a component of kind {kind} gave something; where a pipeline has several, the first.",
}


def _declare(kind: str, figure: Figure) -> None:
    def measure(run: Run) -> Measured | NotApplicable:
        if any(kind in turn.given for turn in run.turns):
            return not_applicable(f"the output of {kind} was given, so it did not run")
        found = [seconds for turn in run.turns if turn.counts and (seconds := _of(turn, kind, figure)) is not None]
        return mean_of(found, f"no stage of kind {kind} ran to its end")

    measure.__doc__ = ABOUT[figure].format(kind=kind)
    measure.__qualname__ = measure.__name__ = f"{kind}_{figure}"
    metric(f"{kind}.{figure}", version="1", unit="s", better="lower", kind="latency")(measure)


def _of(turn: RunTurn, kind: str, figure: Figure) -> float | None:
    found = [seconds for stage in turn.of_kind(kind) if (seconds := getattr(stage, figure)) is not None]
    if not found:
        return None
    return sum(found) if figure == "model_s" else float(found[0])


for _kind in KINDS.values():
    if _kind.stage:
        _declare(_kind.name, "model_s")
        _declare(_kind.name, "ttfb_s")
