"""Holds a metric, ours or a stranger's, to what it promises, on made-up runs and in a process of its own.

In a package's own tests::

    def test_conforms():
        conformance("my_metrics.py:reply_length")
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import made_up
from .results import Result
from .runs import Run, RunTurn
from .scorer import CALL_S, Described, Scorer


@dataclass(frozen=True, slots=True)
class Check:
    """One promise; `fault` says how it is broken and is empty when it is kept. `result`: what it gave, in words."""

    promise: str
    fault: str = ""
    result: str = ""


def checks(
    metric: str,
    parameters: Mapping[str, Any] | None = None,
    timeout: float = CALL_S,
    report: Callable[[Check], None] = lambda check: None,
) -> tuple[Described, list[Check]]:
    """What a metric says of itself, and its checks in order; `report` is given each as soon as it is done.

    `metric`: a name, `package.module:name` or `FILE.py[:name]`. `timeout`: seconds of one call. Raises `OpenOmniError`
    when it can't be found, built or made ready.
    """
    done: list[Check] = []

    def note(check: Check) -> None:
        done.append(check)
        report(check)

    with Scorer(call_s=timeout) as scorer, tempfile.TemporaryDirectory() as folder:
        info = scorer.describe(metric, parameters)
        note(Check("says what it is", "" if info.description else "it has no docstring; write one line"))
        scorer.warm_up(metric, parameters)
        for what, given in _given(info.takes, made_up.runs(Path(folder))):
            result = scorer.measure(metric, given, parameters, twice=True)
            note(Check(what, result.reason if result.fault else "", told(result)))
        scored = any(check.result and check.result[0] != "–" for check in done)
        note(Check("scores one of them", "" if scored else "it applies to none; is there something that it measures?"))
    return info, done


def conformance(metric: str, parameters: Mapping[str, Any] | None = None, timeout: float = CALL_S) -> None:
    """Raises AssertionError with a line for each fault."""
    info, done = checks(metric, parameters, timeout)
    if faults := [f"{each.promise}: {each.fault}" for each in done if each.fault]:
        raise AssertionError("\n".join([f"{info.name} is no good metric", *faults]))


def told(result: Result) -> str:
    """In words, a line."""
    match result.outcome:
        case "scored":
            return result.label if result.value is None else f"{result.value:g}"
        case "not_applicable":
            return f"– {result.reason}"
        case _:
            return "" if result.fault else f"– {result.reason}"


def _given(takes: str, runs: Mapping[str, Run]) -> Sequence[tuple[str, RunTurn | Run | tuple[Run, ...]]]:
    if takes == "turn":
        return [(what, run.turns[0]) for what, run in runs.items() if run.turns]
    if takes == "cell":
        return list(runs.items())
    every = tuple(runs.values())
    return [("three repeats", every[:1] * 3), ("repeats that differ", every), ("a single repeat", every[:1])]
