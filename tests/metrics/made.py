"""Runs by hand: what a test says, and the rest as it is where all went well."""

from __future__ import annotations

from typing import Any

from openomni.datasets import Sample, Sound, Utterance
from openomni.metrics import Run, RunStage, RunTurn

SOUND = Sound(path="none.wav")


def sample(*utterances: dict[str, Any]) -> Sample:
    """One of as many utterances; without any, of one of which nothing is known."""
    return Sample(id="s", utterances=tuple(Utterance(sound=SOUND, **each) for each in utterances or ({},)))


def turn(index: int = 0, **fields: Any) -> RunTurn:
    return RunTurn(**{"index": index, "outcome": "answered", **fields})


def stage(kind: str, component: str = "x", **fields: Any) -> RunStage:
    return RunStage(kind=kind, component=component, **fields)


def run(*turns: RunTurn, of: Sample | None = None, **fields: Any) -> Run:
    return Run(sample=of or sample(*({} for _ in turns)), turns=turns, **fields)
