"""A turn that is run again, from its record: what is given rather than made, and whether the same came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ..components.kinds import KINDS, Channel
from ..errors import WrongUsage
from ..events import Document, Documents, Emotion, Speaker, Text, Transcript, Value
from ..records import Given, StageRecord, TurnRecord
from .spec import Pipeline

REFERENCE: Final = "reference"
"""In place of a text: what somebody wrote down as right."""
_SAID: Mapping[str, tuple[str, ...]] = {
    "stt": ("text",),
    "llm": ("text", "tool_calls"),
    "tts": ("clauses", "sounds", "sha256"),
    "end_to_end": ("text", "tool_calls", "sounds", "sha256"),
    "emotion": ("overall", "text", "audio", "video", "label"),
    "retrieval": ("documents",),
    "speaker": ("label",),
}
"""What of a stage's output is compared; the rest is about how it was made."""
_SHOWN: Mapping[str, tuple[str, ...]] = {"tts": ("clauses", "seconds", "sha256"), "stt": ("text", "diagnostics")}
"""What is shown of it where it differs, if that is more."""
_SOUND = "sha256"
_OF_A_VOICE = ("clauses", "sounds", _SOUND)


class GivenOutputs(NamedTuple):
    """Of stages that are not to run. `clauses`: how a given reply was cut for its voice."""

    values: Mapping[Channel, Sequence[Value]]
    sources: Mapping[str, Given]
    clauses: Sequence[str] = ()


class Difference(msgspec.Struct):
    """Both outputs of the first stage that does not come out the same: what of them is compared, or says why."""

    stage: str
    was: dict[str, Any]
    now: dict[str, Any]


class Comparison(msgspec.Struct):
    """`stages`: by kind, whether it came out the same; None where one of both was stopped in the midst of it, as far
    as that one came it is the same."""

    turn_id: str
    reruns: str
    same: bool
    stages: dict[str, bool | None]
    first: Difference | None = None


def is_silent(record: TurnRecord) -> bool:
    """Nobody spoke: it was typed, or the agent spoke first."""
    return record.utterance is None and not record.segments


def outputs(record: TurnRecord, pipeline: Pipeline, begin: str, corrected: Mapping[str, str]) -> GivenOutputs:
    """What is given to a pipeline that runs a turn again: of every stage before the kind `begin` what the record has,
    and by kind what is `corrected`. Raises WrongUsage for what can't be given."""
    kinds = list(dict.fromkeys(stage.kind for stage in pipeline.stages))
    for kind in filter(None, (begin, *corrected)):
        check_has(pipeline, kind)
    for kind in corrected:
        _check_reaches(kind, pipeline, kinds[kinds.index(begin) :] if begin else kinds, corrected)
    values: dict[Channel, Sequence[Value]] = {}
    sources: dict[str, Given] = {}
    clauses: Sequence[str] = ()
    for kind in kinds[: kinds.index(begin)] if begin else ():
        unheard = is_silent(record) and "speech" in KINDS[kind].takes
        if kind in corrected or unheard:
            continue
        values[KINDS[kind].gives[0]], sources[kind] = [_recorded(record, kind)], "recorded"
        if kind == "llm" and (voice := stage_of(record, "tts")) is not None:
            clauses = voice.output.get("clauses") or ()
    for kind, text in corrected.items():
        if text == REFERENCE:
            raise WrongUsage(f"--with {kind}={REFERENCE}: turns have no references yet; write the text itself")
        values[KINDS[kind].gives[0]], sources[kind] = [_said(kind, text)], "corrected"
    return GivenOutputs(values, sources, clauses)


def _check_reaches(kind: str, pipeline: Pipeline, run: Sequence[str], corrected: Mapping[str, str]) -> None:
    """What is given must be taken by a stage that runs."""
    takes = {each: KINDS[each].takes for each in dict.fromkeys(stage.kind for stage in pipeline.stages)}
    takers = [each for each, taken in takes.items() if set(KINDS[kind].gives) & set(taken) and each not in corrected]
    if takers and not set(takers) & set(run):
        raise WrongUsage(f"--with {kind}=…: no stage that runs takes it; begin at {takers[0]}, or leave it out")


def referenced(pipeline: Pipeline, references: Mapping[str, str]) -> GivenOutputs:
    """What is given to a pipeline that runs an utterance for the first time: by kind, what was written down as right,
    in the place of that stage. Raises WrongUsage for a stage that the pipeline does not have, or that gives no text."""
    values: dict[Channel, Sequence[Value]] = {}
    for kind, text in references.items():
        check_has(pipeline, kind)
        values[KINDS[kind].gives[0]] = [_said(kind, text)]
    return GivenOutputs(values, dict.fromkeys(references, REFERENCE))


def check_has(pipeline: Pipeline, kind: str) -> None:
    """Raises WrongUsage where the pipeline has no stage of that kind."""
    kinds = list(dict.fromkeys(stage.kind for stage in pipeline.stages))
    if kind not in kinds:
        raise WrongUsage(f"the pipeline {pipeline.name} has no {kind} stage; it has {', '.join(kinds)}")


def stage_of(record: TurnRecord, kind: str) -> StageRecord | None:
    """Its last revision that was not superseded."""
    return next((each for each in reversed(record.stages) if each.kind == kind and each.status != "superseded"), None)


def believed(record: TurnRecord) -> str:
    """What was taken for the transcript though the recogniser only guessed it; empty where it did not have to."""
    stage = stage_of(record, "stt")
    if stage is None or str(stage.output.get("text", "")).strip():
        return ""
    return record.transcript if record.transcript == guess_of(stage.output) else ""


def guess_of(output: Mapping[str, Any]) -> str:
    diagnostics = output.get("diagnostics")
    return str(diagnostics.get("guess", "")).strip() if isinstance(diagnostics, Mapping) else ""


def _recorded(record: TurnRecord, kind: str) -> Value:
    stage = stage_of(record, kind)
    output = stage.output if stage is not None else {}
    try:
        match kind:
            case "stt" if stage is not None:
                return Transcript(record.transcript, language=output.get("language"))
            case "llm" if "text" in output:
                return Text(str(output["text"]))
            case "emotion":
                return Emotion(output["overall"], *(output.get(name) for name in ("text", "audio", "video", "label")))
            case "retrieval":
                return Documents(msgspec.convert(output["documents"], tuple[Document, ...]))
            case "speaker":
                return Speaker(output["label"], output.get("confidence"))
    except (KeyError, msgspec.ValidationError):
        pass
    raise WrongUsage(
        f"turn {record.turn_id} has no output of {kind} on record; run it from an earlier stage, "
        f"or say what it is to be (--with {kind}=TEXT)"
    )


def _said(kind: str, text: str) -> Value:
    match kind:
        case "stt":
            return Transcript(text)
        case "llm":
            return Text(text)
        case "retrieval":
            return Documents((Document(text, 1.0),))
        case "speaker":
            return Speaker(text)
    raise WrongUsage(f"--with {kind}=TEXT: what {kind} gives is no text; stt, llm, retrieval and speaker can be given")


# ---- whether the same came of it -----------------------------------------------------------------------------


def compare(was: TurnRecord, now: TurnRecord) -> Comparison:
    """Stage by stage, in the order in which they ran; stages that only one of both has, or that were given, are left
    out. Where the input is another one already, that is the first difference."""
    found = Comparison(now.turn_id, was.turn_id, True, {})
    for what, before, after in (
        ("utterance", was.utterance_hash, now.utterance_hash),
        ("pictures", _pictures(was), _pictures(now)),
    ):
        if before and after and before != after and was.pipeline_hash == now.pipeline_hash:
            found.first = found.first or Difference(what, {"sha256": before}, {"sha256": after})
    for kind in dict.fromkeys(stage.kind for stage in now.stages):
        before_it, after_it = stage_of(was, kind), stage_of(now, kind)
        if before_it is None or after_it is None:
            continue
        found.stages[kind] = same = _same(kind, before_it, after_it)
        if same is False and found.first is None:
            found.first = Difference(kind, _shown(kind, before_it), _shown(kind, after_it))
    if now.status == "failed" and found.first is None:
        found.first = Difference("turn", {"status": was.status}, {"status": now.status, "reason": now.reason})
    found.same = found.first is None
    return found


def _same(kind: str, was: StageRecord, now: StageRecord) -> bool | None:
    stopped, known = _stopped(was) or _stopped(now), True
    for name in _SAID.get(kind) or tuple(was.output):
        before, after = was.output.get(name), now.output.get(name)
        if before == after or not (before or after):
            continue
        if stopped and (name == _SOUND or _begins_alike(name, before, after)):
            known = False
        elif name in _OF_A_VOICE and was.output and not before:
            known = known and name != _SOUND  # an earlier release did not say it
        else:
            return False
    return known or None


def _stopped(stage: StageRecord) -> bool:
    """Somebody cut it: what it gave is the beginning of what it would have given."""
    return stage.status == "cancelled" and not stage.reason


def _begins_alike(name: str, one: Any, other: Any) -> bool:
    """Texts, and lists of what was said or heard one after another; the last sound of the shorter may be cut."""
    shorter, longer = sorted((one or [], other or []), key=len)
    count = len(shorter) - (name == "sounds" and len(shorter) > 0)
    return bool(shorter[:count] == longer[:count]) if type(shorter) is type(longer) else not shorter


def _shown(kind: str, stage: StageRecord) -> dict[str, Any]:
    names = _SHOWN.get(kind) or _SAID.get(kind) or tuple(stage.output)
    shown = {name: stage.output[name] for name in names if name in stage.output}
    if stage.status != "completed":
        shown |= {"status": stage.status, "reason": stage.reason}
    return shown


def _pictures(record: TurnRecord) -> list[str]:
    return sorted({frame.sha256 for frame in record.frames})
