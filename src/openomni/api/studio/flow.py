"""A pipeline as a picture: its stages in columns from left to right, what flows between them, where each can run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from ...components.kinds import KINDS
from ...pipeline.spec import Pipeline, StageSpec, TurnTaking
from ..fleet.models import Agent
from ..fleet.placing import Placing

TITLES = {
    "stt": "Speech to text", "llm": "Language model", "tts": "Text to speech", "emotion": "Emotion",
    "speaker": "Who is talking", "retrieval": "Retrieval", "end_to_end": "End to end",
}  # fmt: skip
SHOWN = 2
"""Parameters of a stage in a small picture."""
TELLING = ("model", "voice", "base_url")
"""Those that say most about a stage, shown before the others."""


@dataclass(frozen=True, slots=True)
class Box:
    """A stage. `parameters` are those that its file sets; `agents` offer it now."""

    kind: str
    title: str
    component: str
    takes: list[str]
    gives: list[str]
    agents: list[Agent]
    parameters: list[tuple[str, str]]
    known: bool

    @property
    def main_parameters(self) -> list[tuple[str, str]]:
        """The few that say most, for a small picture."""
        return sorted(self.parameters, key=lambda each: each[0] not in TELLING)[:SHOWN]

    @property
    def more(self) -> int:
        """How many a small picture leaves out."""
        return max(len(self.parameters) - SHOWN, 0)


@dataclass(frozen=True, slots=True)
class Column:
    """Stages that work side by side, and what flows into them."""

    flows: list[str]
    boxes: list[Box]


@dataclass(frozen=True, slots=True)
class PipelineFlow:
    """The whole picture. `heard` is what comes out at its end; `sees`: camera frames are taken, too."""

    columns: list[Column]
    heard: list[str]
    sees: bool
    turn_taking: list[tuple[str, str]]
    hosts: list[Agent]


def draw(pipeline: Pipeline, placing: Placing, known: Iterable[tuple[str, str]]) -> PipelineFlow:
    """Each stage stands one column behind the last of those that it takes something from."""
    at: dict[str, int] = {"speech": 0, "frames": 0}
    columns: dict[int, list[Box]] = {}
    known = set(known)
    for stage in pipeline.stages:
        kind = KINDS[stage.kind]
        optional = [each for each in kind.may_take if each in at and (each != "frames" or stage.framework.frames)]
        takes: list[str] = [each for each in (*kind.takes, *optional) if each in at]
        place = 1 + max((at[each] for each in takes), default=0)
        at.update(dict.fromkeys((*kind.gives, *kind.may_give), place))
        columns.setdefault(place, []).append(_box(stage, takes, placing, (stage.kind, stage.component) in known))
    drawn = [
        Column(list(dict.fromkeys(each for box in boxes for each in box.takes)), boxes)
        for _, boxes in sorted(columns.items())
    ]
    heard = [each for each in ("voice",) if each in at] or [each for each in ("reply",) if each in at]
    sees = any("frames" in column.flows for column in drawn)
    return PipelineFlow(drawn, heard, sees, _turn_taking(pipeline.turn_taking), placing.hosts)


def _box(stage: StageSpec, takes: list[str], placing: Placing, known: bool) -> Box:
    parameters = {**stage.parameters, **msgspec.to_builtins(stage.framework)}
    # In the order of the file, where there is one.
    ordered = sorted(parameters, key=lambda name: stage.lines.get(name, 0))
    return Box(
        stage.kind,
        TITLES.get(stage.kind, stage.kind),
        stage.component,
        takes,
        list(KINDS[stage.kind].gives),
        placing.where((stage.kind, stage.component)),
        [(name, shown(parameters[name])) for name in ordered],
        known,
    )


def _turn_taking(taking: TurnTaking) -> list[tuple[str, str]]:
    """How turns are taken, in a few words each."""
    silence = f"{taking.end_of_turn_silence:g} s of silence"
    if taking.judge:
        silence += f", {taking.unfinished_silence:g} s where it is unsure"
        if taking.open_threshold > 0:
            silence += f", {taking.open_silence:g} s after an open sentence"
    rows = [
        ("hears speech", taking.vad),
        ("end of turn", taking.judge or "silence alone"),
        ("after", silence),
        ("speech during a reply", "stops it" if taking.interruption == "stop" else "is ignored"),
    ]
    if taking.speculate_after is not None:
        rows.append(("runs ahead after", f"{taking.speculate_after:g} s"))
    return rows


def shown(value: Any) -> str:
    """A value as its YAML would say it, on one line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
