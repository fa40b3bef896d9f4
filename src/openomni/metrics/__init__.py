"""Metrics: what programs say of runs, each a plug-in as small as a component, found by name and run in a child process.

A metric is a function of a run, or a class whose `measure` is one::

    @metric("reply-length", version="1", takes="cell", unit="words", better="lower")
    def reply_length(run):
        \"\"\"How many words the reply has.\"\"\"
        return len(run.reply_text.split())

No database here and no bus: who keeps scores is somebody else's subject.
"""

from __future__ import annotations

from .declaring import metric
from .results import Measured, NotApplicable, Result, Unanswered, not_applicable, unanswered
from .runs import Run, RunStage, RunTurn

__all__ = [
    "Measured",
    "NotApplicable",
    "Result",
    "Run",
    "RunStage",
    "RunTurn",
    "Unanswered",
    "metric",
    "not_applicable",
    "unanswered",
]
