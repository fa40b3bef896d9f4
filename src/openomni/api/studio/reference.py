"""What can be written in a pipeline, to look up beside the editor: components with their parameters, what the framework
takes at a stage, and how turns are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from django.db.models import Max

from ...components import registry
from ...components.kinds import KINDS
from ...pipeline.spec import Framework, TurnTaking
from ..fleet.models import Agent, Offer
from ..fleet.parameters import Parameter, parameters
from ..fleet.placing import Placing

STAGE_KEYS = {
    "instructions": "What a language model is told first (llm, end_to_end).",
    "history": "How many earlier turns it sees; all that fit by default (llm, end_to_end).",
    "template": "How the newest message is put, with {transcript}, {emotion}, {documents} and {speaker} (llm).",
    "reasons_first": "The model's own template opens its reasoning; nothing is said until that ends (llm).",
    "frames": "How many camera frames of the utterance go along (llm, end_to_end, emotion).",
    "timeout": "Seconds without any output after which the component counts as hung.",
}
TURN_TAKING = {
    "vad": "The component that hears where speech is.",
    "threshold": "From which probability a window counts as speech.",
    "end_of_turn": "`silence`, or a component of the kind turn that is asked at each pause.",
    "end_of_turn_silence": "Seconds of silence that end a turn.",
    "unfinished_silence": "Seconds where the turn component is unsure.",
    "open_silence": "Seconds where it says that nobody ends there.",
    "turn_threshold": "From which probability the turn counts as finished.",
    "open_threshold": "Below which probability nobody ends there.",
    "speculate_after": "Seconds of pause after which the turn runs ahead; null never does.",
    "recognise_every": "Seconds of speech after which it is recognised while it goes on; null waits for the pause.",
    "min_speech": "Seconds of speech that begin a turn.",
    "padding": "Seconds of sound before its beginning that belong to it.",
    "max_utterance": "Seconds after which a turn without a pause ends.",
    "interruption": "Whether speech stops a reply: stop or ignore.",
    "interruption_speech": "Seconds of speech that end a reply for good.",
    "backchannels": "Words that show attention and take nobody's turn; null: those that are known.",
    "commands": "Words that take the word however badly they are heard; null: those that are known.",
}


@dataclass(frozen=True, slots=True)
class Component:
    """One component that a stage can name. `agents`: live ones that offer it."""

    kind: str
    name: str
    version: str
    package: str
    description: str
    parameters: list[Parameter]
    agents: list[Agent]


@dataclass(frozen=True, slots=True)
class Group:
    """A kind with its components."""

    kind: str
    about: str
    components: list[Component]


def components(project_id: str, placing: Placing) -> list[Group]:
    """As the project's agents registered them last, else as they are installed on the server; by kind."""
    found = {
        key: Component(*key, info.version, info.package, info.description, parameters(info.schema), [])
        for key, info in registry.registered().items()
    }
    newest = Offer.objects.filter(project_id=project_id).order_by().values("kind", "name").annotate(pk_=Max("pk"))
    for offer in Offer.objects.filter(pk__in=[row["pk_"] for row in newest]):
        key = (offer.kind, offer.name)
        found[key] = Component(
            *key, offer.version, offer.package, offer.description, parameters(offer.schema), placing.where(key)
        )
    return [
        Group(kind.name, kind.about, of_kind)
        for kind in KINDS.values()
        if (of_kind := [found[key] for key in sorted(found) if key[0] == kind.name])
    ]


def keys(struct: type[Framework] | type[TurnTaking], about: dict[str, str]) -> list[tuple[str, str, str]]:
    """(name, default, what it is) of each key that the framework itself acts on."""
    return [(field.name, _shown(field.default), about[field.name]) for field in msgspec.structs.fields(struct)]


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
