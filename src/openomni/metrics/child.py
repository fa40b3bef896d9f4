"""The process that metrics run in: what one does to it touches nobody else.

`python -P -m openomni.metrics.child` takes an order a line (JSON) and answers each with a line, until its input ends.
It runs when nobody who serves wants the processor, and is the first to go where memory runs out. Orders: `list`;
`describe`, `warm_up` and `measure` a `metric` with its `parameters`. Whoever gave them ends it when it takes too long.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

import msgspec

from ..components.fence import words
from ..errors import OpenOmniError
from . import registry
from .results import Result, failed, line
from .runs import Run, RunTurn, SoundAwaited

NICE = 10
BUILT = 32
"""Metrics that are kept, with their models."""


def main() -> None:
    """Answers are `{"metrics": […], "problems": […]}`, `{"described": {…}}`, `{"ready": true}`, `{"result": {…}}` or
    `{"awaited": "what"}`, and to any order `{"failed": "why", "usage": bool}`."""
    answers = withdraw()
    child = Child()
    for said in sys.stdin:
        answers.write(json.dumps(child.answered(json.loads(said))) + "\n")
        answers.flush()


def withdraw() -> TextIO:
    """Leaves the machine to others, and what metrics print to nobody: gives where answers go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us, and ends us in order
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


class Child:
    """What it answers, and what it keeps between two orders."""

    def __init__(self) -> None:
        self._built: dict[bytes, registry.Metric] = {}
        self._taken: tuple[bytes, Any] = (b"", None)
        """The last that was measured: its sounds serve the next metric, too."""

    def answered(self, order: dict[str, Any]) -> dict[str, Any]:
        """Never raises."""
        try:
            match order["do"]:
                case "list":
                    found = list(registry.registered().values())
                    return {"metrics": msgspec.to_builtins(found), "problems": registry.problems()}
                case "describe":
                    built = self._metric(order)
                    more = {"version": built.version, "parameters": built.parameters}
                    return {"described": msgspec.to_builtins(built.info) | more}
                case "warm_up":
                    self._metric(order).warm_up()
                    return {"ready": True}
                case _:
                    return {"result": msgspec.to_builtins(self._measured(order))}
        except SoundAwaited as error:
            return {"awaited": line(error)}
        except OpenOmniError as error:
            return {"failed": line(error), "usage": error.exit_code == 2}
        except MemoryError:
            return {"failed": "it takes more memory than there is", "usage": False}
        except Exception as error:
            return {"failed": line(words(error)), "usage": False}

    def _metric(self, order: dict[str, Any]) -> registry.Metric:
        key = msgspec.json.encode([order["metric"], order.get("parameters") or {}], order="deterministic")
        if key not in self._built:
            if len(self._built) >= BUILT:
                self._built.pop(next(iter(self._built)))
            self._built[key] = registry.build(order["metric"], order.get("parameters"))
        return self._built[key]

    def _measured(self, order: dict[str, Any]) -> Result:
        metric, given = self._metric(order), order["given"]
        key = msgspec.json.encode([metric.info.takes, given])
        if key != self._taken[0]:
            self._taken = (key, msgspec.convert(given, _TAKEN[metric.info.takes]))
        first = metric.measure(self._taken[1])
        if order.get("twice") and _differ(first, metric.measure(self._taken[1])):
            return failed("gave something else when it was asked the same again; draw from a seed of your own")
        return first


_TAKEN: dict[str, Any] = {"turn": RunTurn, "cell": Run, "repeats": tuple[Run, ...]}


def _differ(first: Result, second: Result) -> bool:
    return msgspec.json.encode(first) != msgspec.json.encode(second)


if __name__ == "__main__":
    main()
