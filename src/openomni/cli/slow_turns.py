"""What made a turn slow: the part of its account that took longest, and what shortens it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import WrongUsage
from ..records import PauseRecord

MODELS: Mapping[str, str] = {
    "stt": "a smaller `model`, `language` given where it is known, or a GPU (`device: cuda`)",
    "llm": "a smaller `model`, shorter `instructions`, fewer earlier turns (`history`), or a GPU",
    "tts": "a lighter `voice`, or instructions that ask for shorter sentences: it begins with the first clause",
    "end_to_end": "shorter `instructions`, fewer earlier turns (`history`), fewer `frames`, or a GPU",
    "emotion": "a smaller model, fewer `frames`, or no such stage: the reply waits for it",
    "speaker": "a smaller model, or no such stage: the reply waits for it",
    "retrieval": "fewer passages, a smaller index, or no such stage: the reply waits for it",
}
"""By kind, what makes a model answer sooner; a framework's own keys and those that most components have."""
WAITS: Mapping[str, str] = {
    "end_of_turn": "under turn_taking, a shorter `unfinished_silence` or `end_of_turn_silence`, or a lower "
    "`turn_threshold`, answers sooner and cuts more people off",
    "queue": "every slot of its agents was taken; start one more agent, or give one more `--slots`",
    "lost": "an agent died, fell silent or lost its network in mid-turn, and another ran the stage again; "
    "the task's attempts name the agent and the reason",
    "transfer": "it runs on another machine; start an agent with it nearer to the host, or let the host offer it",
    "load": "its model was not warm; start the agent with `--warm` and the pipeline's name",
    "aggregation": "it waited until its input was whole; in the llm's `instructions`, ask for short sentences",
    "playback": "a wired loudspeaker instead of Bluetooth, or a voice that begins without silence",
    "residue": "nobody owns it, the machine was busy with something else; close that, or give the agent more cores",
}
OURS: Mapping[tuple[str, str], str] = {
    ("queue", "host"): "somebody still had the word: the reply before it, or the person; shorter replies "
    "(`max_tokens`, `instructions`) end sooner",
    ("transfer", "client"): "the way from the host to the loudspeaker; a wired network, or an agent nearer to it",
}
"""What belongs to no stage."""
NAMES: Mapping[str, str] = {
    "end_of_turn": "being sure that the person had finished",
    "queue": "the queue of",
    "lost": "lost attempts of",
    "transfer": "the way to and from",
    "load": "loading the model of",
    "model": "the model of",
    "aggregation": "collecting the input of",
    "playback": "playback",
    "residue": "unexplained",
}


class Verdict(NamedTuple):
    """What the time of a turn went to; `mend` is empty where there is nothing to mend."""

    line: str
    mend: str = ""


def verdicts(path: Path) -> Iterator[Verdict]:
    """One for each turn of a file that `--json` wrote, or of what the API answers at `/api/v1/turns`.

    Raises `WrongUsage` when it is neither.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongUsage(f"{path} can't be read as JSON ({error}); name a file that --json wrote") from None
    if isinstance(content, dict) and {"figures", "utterances"} <= content.keys():
        raise WrongUsage(
            f"{path} is of `openomni bench live`, whose `part_…_p50_s` say where the time went; "
            "of turns, name a file that `openomni listen --json` or `demo --json` wrote"
        )
    turns = _turns(content)
    if turns is None:
        raise WrongUsage(f"{path} holds no turns; name a file that `openomni listen --json` or `demo --json` wrote")
    if not turns:
        yield Verdict(f"{path} holds no turn", "was anything said? `openomni listen` tells what it heard")
    for turn in turns:
        yield verdict(turn)


def _turns(content: Any) -> list[dict[str, Any]] | None:
    if not isinstance(content, dict):
        return None
    turns = [content] if "turn_id" in content else content.get("turns", content.get("items"))
    fine = isinstance(turns, list) and all(isinstance(turn, dict) and "turn_id" in turn for turn in turns)
    return turns if fine else None


def verdict(turn: Mapping[str, Any]) -> Verdict:
    """Of one turn's JSON (`records.TurnRecord`)."""
    name = f"turn {str(turn.get('turn_id', '?'))[:8]}"
    spent: dict[tuple[str, str], float] = {}
    for part in turn.get("parts") or []:
        key = (part["what"], part["stage"])
        spent[key] = spent.get(key, 0.0) + part["end_s"] - part["start_s"]
    total = sum(spent.values())
    if total <= 0:
        return Verdict(f"{name} has no timeline: {turn.get('reason') or 'no reply was heard'}")
    (what, stage), seconds = max(spent.items(), key=lambda item: item[1])
    line = f"{name}: {seconds:.2f} of {total:.2f} s ({seconds / total:.0%}) is {_named(what, stage)}"
    if what == "end_of_turn" and (pause := last_pause(turn)) is not None:
        line += f" ({pause.words})"
    return Verdict(line, _mend(what, stage))


def last_pause(turn: Mapping[str, Any]) -> PauseRecord | None:
    """The silence that ended a turn; None where the client said itself when the person had finished."""
    last = next((pause for pause in turn.get("pauses") or [] if pause["ended"]), None)
    return None if last is None else msgspec.convert(last, PauseRecord)


def _named(what: str, stage: str) -> str:
    if (what, stage) == ("queue", "host"):
        return "waiting for the word"
    if (what, stage) == ("transfer", "client"):
        return "the way to the loudspeaker"
    name = NAMES[what]
    return f"{name} {stage}" if name.endswith((" of", " from")) else name


def _mend(what: str, stage: str) -> str:
    if what == "model":
        return MODELS.get(stage.partition(":")[0], "a smaller model, or a machine with a GPU")
    return OURS.get((what, stage)) or WAITS[what]
