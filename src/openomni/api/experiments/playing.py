"""Who plays the user of an experiment's samples: their recordings, or a component of the kind `player`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from ...bounds import MAX_RECORD
from ...components import schema
from ...components.conversation import MOST_CHARACTERS
from ...datasets import Sample
from ...errors import OpenOmniError, nearest
from ...records import PlayerChoice
from ...version import __version__
from ..datasets.models import DatasetSample
from ..fleet import components
from ..fleet.models import Agent, Offer, alive_since
from ..ground.errors import Refusal
from .models import Experiment, Pace

RECORDING = "recording"
SCRIPT = "script"
CALLER = "caller"
"""The role of an agent that plays the person, at real-time pace."""
MAX_CONTENT = MAX_RECORD // 2
"""Bytes of a sample whose texts a player is told."""


def told(choice: PlayerChoice | None) -> dict[str, Any]:
    """As an experiment has it. A component's own version, and that of its voice, stand in the builds of each cell."""
    if choice is None:
        return {"kind": RECORDING, "version": __version__}
    fields = msgspec.to_builtins(choice)
    return {"kind": fields.pop("name"), "version": __version__, **fields}


def choice_of(experiment: Experiment) -> PlayerChoice | None:
    """None where recordings are played."""
    return choice_in(experiment.player)


def choice_in(player: Mapping[str, Any]) -> PlayerChoice | None:
    """As `told` gave it. Raises msgspec.ValidationError for what is no player."""
    if player.get("kind", RECORDING) == RECORDING:
        return None
    return msgspec.convert({**player, "name": player["kind"]}, PlayerChoice)


def words(player: Mapping[str, Any]) -> str:
    """For people, and to tell one from another: `script`, its parameters and its voice."""
    kind = str(player.get("kind", RECORDING))
    if kind == RECORDING:
        return "the recordings"
    voice = _settings(player.get("voice_parameters", {}))
    return f"{kind}{_settings(player.get('parameters', {}))}; voice {player.get('voice', '')}{voice}"


def _settings(parameters: Mapping[str, Any]) -> str:
    """In the order of their names, for a database keeps no order; as JSON, for 8 is not "8"."""
    return "".join(f", {name} {json.dumps(value, sort_keys=True)}" for name, value in sorted(parameters.items()))


def check(project_id: str, choice: PlayerChoice | None, pace: str) -> None:
    """Raises Refusal, 422, for a player or a voice that nobody knows, parameters that it does not take, and at fast
    pace."""
    if choice is None:
        return
    if choice.name == RECORDING:
        raise Refusal(422, "recordings are what is played without a player; leave the player out")
    if pace == Pace.FAST:
        raise Refusal(
            422, f"the player {choice.name} speaks and listens as a person does, and fast pace has nobody who hears; "
            "ask for real-time pace (--pace realtime), or leave the player out"
        )  # fmt: skip
    known = components.schemas(project_id)
    for kind, name, parameters in (
        ("player", choice.name, choice.parameters),
        ("tts", choice.voice, choice.voice_parameters),
    ):
        if (kind, name) not in known:
            others = [each for of, each in known if of == kind]
            # One that is named by its module is known as soon as an agent that has it comes in.
            mend = f"start an agent that has it, with --offer all,{kind}:{name}; " if ":" in name else ""
            raise Refusal(422, f"unknown {kind} {name!r}; {mend}{nearest(name, others)}")
        try:
            schema.check(known[kind, name], parameters, f"{kind}:{name}")
        except OpenOmniError as error:
            raise Refusal(422, str(error)) from None


def unplayable(choice: PlayerChoice | None, rows: list[tuple[DatasetSample, Sample]]) -> tuple[list[str], str]:
    """The samples that it can't play, and why."""
    if choice is None:
        return [], ""
    large = [sample.id for row, sample in rows if len(msgspec.json.encode(row.content)) > MAX_CONTENT]
    if large:
        return large, f"holds more than {MAX_CONTENT >> 10} KiB of text, which a player can't be told; cut it in two"
    if choice.name == SCRIPT:
        texts = {sample.id: [(said.text or "").strip() for said in sample.utterances] for _, sample in rows}
        if silent := [key for key, said in texts.items() if not all(said)]:
            return silent, "has no text in each utterance for the player script to say; add it, or play its recordings"
        long = [key for key, said in texts.items() if any(len(each) > MOST_CHARACTERS for each in said)]
        return long, f"has an utterance of more than {MOST_CHARACTERS:,} characters, which is too much to say at once"
    return [], ""


def missing(project_id: str, choice: PlayerChoice | None) -> list[str]:
    """What keeps the user of a real-time cell from being played, a line each. Any caller may take any cell, so each of
    them is to have the player."""
    alive = Agent.objects.filter(project_id=project_id, last_seen__gt=alive_since(), draining=False).order_by("name")
    callers = {key: name for key, name, roles in alive.values_list("pk", "name", "roles") if CALLER in roles}
    if not callers:
        also = "" if choice is None else f",player:{choice.name}"
        return [f"no live agent plays the person; start one with the role: openomni agent --offer caller{also}"]
    if choice is None:
        return []
    offers = Offer.objects.filter(agent__in=callers, kind="player", name=choice.name)
    having = set(offers.values_list("agent", flat=True))
    lacking = [name for key, name in callers.items() if key not in having]
    if not having:
        return [
            f"no live agent with the role caller offers player:{choice.name}; start one where it is installed: "
            f"openomni agent --offer caller,player:{choice.name}"
        ]
    if lacking:
        return [
            f"{', '.join(lacking)}: plays the person, too, and offers no player:{choice.name}; install it there, or "
            "start that agent without the role caller"
        ]
    return []
