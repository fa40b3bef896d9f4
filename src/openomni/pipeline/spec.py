"""A pipeline as a researcher writes it: its YAML form, its checks and its hash.

A file is read into a `Pipeline`; `check` holds it against the components that are known. Both say the line, the
reason and the nearest valid name. Two files that differ only in name and description have the same hash.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from ..components.kinds import KINDS, Channel, kind_of
from ..errors import WrongUsage, nearest
from ..yaml_text import Lines, Unreadable, place, told
from .lines import File, read


class PipelineError(WrongUsage):
    """A pipeline that can't be read; one line with the place, the reason and the mend."""


SOONEST = 0.2
"""Seconds between two recognitions of what somebody is saying, at least."""
LONGEST = 60.0
"""Seconds that a duration may have, `LONGEST_UTTERANCE` aside: above that milliseconds were meant."""
LONGEST_UTTERANCE = 3600.0

LONGEST_NAME = 80
"""Letters of a pipeline's name."""

_ABOVE_ZERO = ("end_of_turn_silence", "unfinished_silence", "open_silence", "max_utterance", "interruption_speech")
_DURATIONS = (*_ABOVE_ZERO, "min_speech", "padding", "speculate_after", "recognise_every")


class TurnTaking(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When the person's turn begins and ends, and who has the word. Durations in seconds.

    A turn begins after `min_speech` of windows that the detector gives at least `threshold`; `padding` of sound before
    its beginning belongs to it; `max_utterance` ends a turn that never pauses.

    `end_of_turn` says how its end is found. `silence`: by `end_of_turn_silence` without speech. The name of a `turn`
    component: that is asked at each pause whether the person has finished; from `turn_threshold` on the same silence is
    enough, else it takes `unfinished_silence`, and below `open_threshold` `open_silence`: nobody ends there.

    After a pause of `speculate_after` the turn runs ahead, with its reply held back until the end of the turn is sure;
    null never runs ahead. `recognise_every` so much speech without a pause, what was said so far is recognised and read
    by the language model, so that less is to be done at its end; null waits for the pause.

    `interruption`: whether speech stops a reply that is being heard. It falls silent at the first speech, and is over
    when that lasts `interruption_speech` or holds words that are no `backchannels`; else it goes on where it was.
    `commands` always end it.
    """

    vad: str = "silero"
    threshold: float = 0.5
    end_of_turn: str = "silence"
    end_of_turn_silence: float = 0.2
    unfinished_silence: float = 0.8
    open_silence: float = 1.0
    turn_threshold: float = 0.9
    open_threshold: float = 0.0
    speculate_after: float | None = 0.1
    recognise_every: float | None = None
    min_speech: float = 0.096
    padding: float = 0.1
    max_utterance: float = 60.0
    interruption: Literal["stop", "ignore"] = "stop"
    interruption_speech: float = 0.8
    backchannels: tuple[str, ...] | None = None
    """Words that show attention and take nobody's turn; null: those that the framework knows."""
    commands: tuple[str, ...] | None = None
    """Words that take the word however badly they are heard; null: those that the framework knows."""

    @property
    def judge(self) -> str:
        """The `turn` component that is asked at pauses; empty where silence alone counts."""
        return "" if self.end_of_turn == "silence" else self.end_of_turn

    @property
    def needs(self) -> list[tuple[str, str]]:
        """(kind, component) of what the host needs beside the stages."""
        return [("vad", self.vad), *([("turn", self.judge)] if self.judge else [])]


class Framework(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a stage's entry may hold beside its component's own parameters; the framework acts on it."""

    instructions: str | None = None
    """What a language model is told first (`llm`, `end_to_end`)."""
    history: int | None = None
    """How many earlier turns a language model sees; all that fit by default (`llm`, `end_to_end`)."""
    template: str | None = None
    """How the newest message is put, with {transcript}, {emotion}, {documents} and {speaker} (`llm`)."""
    reasons_first: bool = False
    """The model's own template opens its reasoning, so that a reply only tells where that ends (`llm`): nothing before
    it is shown or spoken."""
    frames: int = 0
    """How many camera frames of the utterance go along, spread over it (`llm`, `end_to_end`, `emotion`)."""
    timeout: float | None = None
    """Seconds without any output after which the component counts as hung."""


_FRAMEWORK_KEYS = {
    "llm": {"instructions", "history", "template", "reasons_first", "frames", "timeout"},
    "end_to_end": {"instructions", "history", "frames", "timeout"},
    "emotion": {"frames", "timeout"},
}


class StageSpec(msgspec.Struct, frozen=True):
    """One stage: a component of a kind with its parameters. `line` is where it stands in its file, from 1, and `lines`
    where each of its keys does."""

    kind: str
    component: str
    parameters: dict[str, Any] = {}
    framework: Framework = Framework()
    line: int = 0
    lines: dict[str, int] = {}

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.component}"

    @property
    def model(self) -> str:
        """The same for every stage of the same component and parameters."""
        return f"{self.name} {msgspec.json.encode(self.parameters, order='sorted').decode()}"


class Pipeline(msgspec.Struct, frozen=True):
    """A named list of stages and how turns are taken. `where` names its file in messages."""

    name: str
    stages: tuple[StageSpec, ...]
    turn_taking: TurnTaking = TurnTaking()
    description: str = ""
    where: str = ""
    turn_taking_lines: dict[str, int] = {}
    """Where each key under `turn_taking` stands; empty for `turn_taking` itself."""

    def normalised(self) -> dict[str, Any]:
        """The same shape as the YAML file, without what only says the default; `parse` reads it back."""
        return {
            "name": self.name,
            "description": self.description,
            "stages": [
                {stage.kind: stage.component, **_sorted(stage.parameters), **msgspec.to_builtins(stage.framework)}
                for stage in self.stages
            ],
            "turn_taking": msgspec.to_builtins(self.turn_taking),
        }

    @property
    def hash(self) -> str:
        """Identifies what it does: 16 hex digits of the SHA-256 of its content, name and description aside."""
        content = {key: value for key, value in self.normalised().items() if key not in ("name", "description")}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def place(self, stage: StageSpec, key: str = "") -> str:
        """Where a stage stands, or a key of it, for messages."""
        number = next(number for number, each in enumerate(self.stages, 1) if each is stage)
        return place(self.where, stage.lines.get(key, stage.line), f"stage {number} ({stage.kind})")

    @property
    def needs(self) -> list[tuple[str, str]]:
        """(kind, component) of every stage, in order."""
        return [(stage.kind, stage.component) for stage in self.stages]


def parse(source: str | Mapping[str, Any], where: str = "pipeline") -> Pipeline:
    """Reads YAML text, or the mapping that `normalised` gives. Raises `PipelineError`."""
    file = File()
    document: Any = source
    if isinstance(source, str):
        try:
            document, file = read(source)
        except Unreadable as fault:
            raise PipelineError(place(where, fault.line, str(fault))) from None
    if not isinstance(document, Mapping):
        raise PipelineError(f"{where}: a pipeline is a mapping with `name` and `stages`")
    return _from_mapping(document, where, file)


def load(path: str | Path) -> Pipeline:
    """Reads a pipeline file. Raises `PipelineError` when it is missing or wrong."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror or error}; check the path") from None
    except UnicodeDecodeError:
        raise PipelineError(f"{path}: not UTF-8 text; a pipeline is a YAML file") from None
    return parse(text, str(path))


def builtin() -> dict[str, Pipeline]:
    """The pipelines that come with OpenOmni, by name."""
    folder = resources.files(__package__) / "builtin"
    found = [
        parse(entry.read_text(encoding="utf-8"), entry.name)
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    ]
    return {pipeline.name: pipeline for pipeline in sorted(found, key=lambda each: each.name)}


def builtin_text(name: str) -> str:
    """The file of a built-in pipeline as it was written, comments included."""
    return (resources.files(__package__) / "builtin" / builtin()[name].where).read_text(encoding="utf-8")


def check(
    pipeline: Pipeline,
    schemas: Mapping[tuple[str, str], Mapping[str, Any]],
) -> list[str]:
    """What is wrong with it, a line each; empty when nothing is.

    `schemas` maps (kind, component) to the JSON Schema of its parameters: those installed here, or those that
    agents registered.
    """
    problems: list[str] = []
    made: dict[Channel, str] = {"speech": "the person", "frames": "the camera"}
    for number, stage in enumerate(pipeline.stages, 1):
        place = pipeline.place(stage)
        kind = KINDS[stage.kind]
        problems += [
            f"{place}: needs {channel!r}, which no earlier stage makes; put a {_maker(channel)} stage before it"
            for channel in kind.takes
            if channel not in made
        ]
        problems += [
            f"{place}: makes {channel!r}, but {made[channel]} does already; take one of them out"
            for channel in kind.gives
            if channel in made
        ]
        made.update(dict.fromkeys(kind.gives, f"stage {number}"))
        problems += _component_problems(pipeline, stage, schemas)
    for kind_name, name in pipeline.turn_taking.needs:
        valid = [each for kind, each in schemas if kind == kind_name]
        if valid and name not in valid:
            what = "vad" if kind_name == "vad" else "end_of_turn"
            hint = nearest(name, valid if kind_name == "vad" else ["silence", *valid])
            place = _taking_place(pipeline.where, pipeline.turn_taking_lines, what)
            problems.append(f"{place}: unknown {what} {name!r}; {hint}")
    return problems


def _component_problems(
    pipeline: Pipeline, stage: StageSpec, schemas: Mapping[tuple[str, str], Mapping[str, Any]]
) -> list[str]:
    known = schemas.get((stage.kind, stage.component))
    if known is None:
        of_kind = [name for kind_name, name in schemas if kind_name == stage.kind]
        return [f"{pipeline.place(stage)}: unknown component {stage.component!r}; {nearest(stage.component, of_kind)}"]
    from ..components import schema as component_schema

    return [
        f"{pipeline.place(stage, name)}: {fault}" for name, fault in component_schema.faults(known, stage.parameters)
    ]


def _from_mapping(document: Mapping[str, Any], where: str, file: File) -> Pipeline:
    def wrong(key: str, reason: str) -> PipelineError:
        return PipelineError(place(where, file.top.keys.get(key, 0), reason))

    keys = {"name", "description", "stages", "turn_taking"}
    for key in document:
        if key not in keys:
            raise wrong(str(key), f"unknown key {key!r}; {nearest(str(key), keys)}")
    name = document.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not _is_name(name):
        raise wrong(
            "name",
            f"`name` must be up to {LONGEST_NAME} letters, digits, '-', '_' or '.', for example my-pipeline",
        )
    stages = document.get("stages")
    if not isinstance(stages, Sequence) or isinstance(stages, str) or not stages:
        raise wrong("stages", "`stages` must be a list of at least one, for example `- stt: faster-whisper`")
    at = {**file.turn_taking.keys, "": file.turn_taking.line}
    return Pipeline(
        name=name,
        description=str(document.get("description") or ""),
        stages=tuple(
            _stage(entry, number, where, file.stages[number] if number < len(file.stages) else Lines())
            for number, entry in enumerate(stages)
        ),
        turn_taking=_turn_taking(document.get("turn_taking") or {}, where, at),
        where=where,
        turn_taking_lines=at,
    )


def _stage(entry: Any, number: int, where: str, lines: Lines) -> StageSpec:
    at = place(where, lines.line, f"stage {number + 1}")
    if not isinstance(entry, Mapping) or not entry:
        raise PipelineError(f"{at}: a stage is a mapping that begins with its kind, such as `stt: faster-whisper`")
    kind_name = str(next(iter(entry)))
    present = [str(key) for key in entry if key in KINDS]
    if kind_name not in KINDS and present:
        kind_name = present[0]
    try:
        kind = kind_of(kind_name)
    except WrongUsage as error:
        raise PipelineError(f"{at}: {error}") from None
    if not kind.stage:
        raise PipelineError(f"{at}: a {kind.name} is no stage; name it under `turn_taking`")
    component = entry[kind_name]
    if not isinstance(component, str) or not component:
        raise PipelineError(f"{at}: `{kind_name}:` takes a component's name, for example `{kind_name}: simulated`")
    rest = {str(key): value for key, value in entry.items() if key != kind_name}
    own = _FRAMEWORK_KEYS.get(kind_name, {"timeout"})
    options = {key: rest.pop(key) for key in own & rest.keys()}
    try:
        framework = msgspec.convert(options, Framework)
    except msgspec.ValidationError as error:
        wrong = next((key for key in options if f"$.{key}`" in str(error)), "")
        at = place(where, lines.keys.get(wrong, lines.line), f"stage {number + 1} ({kind_name})")
        raise PipelineError(f"{at}: {_reason(error)}") from None
    for key, value in rest.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            at = place(where, lines.keys.get(key, lines.line), f"stage {number + 1} ({kind_name})")
            raise PipelineError(f"{at}: {key} holds a date or the like, which no component takes; quote it") from None
    return StageSpec(kind_name, component, rest, framework, lines.line, lines.keys)


def _turn_taking(value: Any, where: str, lines: Mapping[str, int]) -> TurnTaking:
    """`lines`: where its keys stand, and it itself under the empty name."""

    def wrong(key: str, reason: str) -> PipelineError:
        return PipelineError(f"{_taking_place(where, lines, key)}: {reason}")

    if isinstance(value, Mapping):
        for key in value:
            if key not in TurnTaking.__struct_fields__:
                raise wrong(str(key), f"unknown key {key!r}; {nearest(str(key), TurnTaking.__struct_fields__)}")
    try:
        taking = msgspec.convert(value, TurnTaking)
    except msgspec.ValidationError as error:
        key = next((each for each in TurnTaking.__struct_fields__ if re.search(rf"\$\.{each}\b", str(error))), "")
        raise wrong(key, _reason(error)) from None
    if (fault := _taking_fault(taking)) is not None:
        raise wrong(*fault)
    return taking


def _taking_fault(taking: TurnTaking) -> tuple[str, str] | None:
    """The first key whose value can't be meant, and why."""
    if not 0 < taking.threshold < 1:
        return "threshold", f"threshold is a probability between 0 and 1, not {taking.threshold:g}"
    for name in ("turn_threshold", "open_threshold"):
        if not 0 <= (value := getattr(taking, name)) <= 1:
            return name, f"{name} is a probability from 0 to 1, not {value:g}"
    if taking.open_threshold > taking.turn_threshold:
        return "open_threshold", (
            f"open_threshold ({taking.open_threshold:g}) is above turn_threshold ({taking.turn_threshold:g}); "
            "below the one nobody ends, from the other on they have"
        )
    for name in _DURATIONS:
        seconds = getattr(taking, name)
        longest = LONGEST_UTTERANCE if name == "max_utterance" else LONGEST
        if seconds is not None and not (math.isfinite(seconds) and seconds <= longest):
            return name, f"{name} takes at most {longest:g}, not {seconds:g}; durations are in seconds"
        if name in _ABOVE_ZERO and seconds <= 0:
            return name, f"{name} must be more than 0 seconds"
        if name == "recognise_every" and seconds is not None and seconds < SOONEST:
            return name, f"recognise_every must be at least {SOONEST:g} seconds, or null"
        if seconds is not None and seconds < 0:
            return name, f"{name} must not be negative"
    # A `speculate_after` beyond the silence that ends a turn is fine: the turn then runs when it is over, as with null.
    waits = []
    if taking.judge:
        waits.append(("unfinished_silence", "end_of_turn_silence"))
    if taking.judge and taking.open_threshold > 0:
        waits.append(("open_silence", "unfinished_silence"))
    for longer, shorter in waits:
        if getattr(taking, longer) < getattr(taking, shorter):
            return longer, (
                f"{longer} ({getattr(taking, longer):g} s) is below {shorter} ({getattr(taking, shorter):g} s); "
                "the less is sure, the longer the silence"
            )
    return None


def _taking_place(where: str, lines: Mapping[str, int], key: str) -> str:
    return place(where, lines.get(key) or lines.get("", 0), "turn_taking")


def _maker(channel: str) -> str:
    return " or ".join(kind.name for kind in KINDS.values() if channel in (*kind.gives, *kind.may_give))


def _is_name(text: str) -> bool:
    return all(letter.isalnum() or letter in "-_." for letter in text)


def _reason(error: msgspec.ValidationError) -> str:
    """What msgspec says, in words."""
    hints = get_type_hints(TurnTaking)
    return told(error, {name: get_args(hint) for name, hint in hints.items() if get_args(hint)})


def _sorted(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: mapping[key] for key in sorted(mapping)}
