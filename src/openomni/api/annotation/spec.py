"""A campaign as a researcher writes it: its YAML form and its checks.

::

    campaign: debate
    from: {experiment: debate}
    metrics: [recognition, transcript, overall]
    annotators: [ann, bob]
    per_item: 2

What it names (an experiment, metrics, people) is looked up when it begins; see `beginning`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ... import bounds
from ...errors import WrongUsage, nearest
from ...yaml_text import Unreadable, place, read_all, told

Named = Annotated[str, Meta(min_length=1, max_length=bounds.MAX_NAME)]
Many = Annotated[tuple[Named, ...], Meta(max_length=10_000)]
Names = Annotated[tuple[Named, ...], Meta(max_length=1_000)]
Moment = Annotated[datetime, Meta(tz=True)]
MOMENTS = ("since", "until")
MAX_TEXT = 512 << 10
SHORTEST_LEASE, LONGEST_LEASE = 1.0, 24 * 60.0
"""Minutes."""


class CampaignSpecError(WrongUsage):
    """A campaign that can't be read; one line with the place, the reason and the mend."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Selection(_Part, frozen=True):
    """Which turns or sessions; all that is named has to hold."""

    experiment: Annotated[str, Meta(max_length=80)] = ""
    pipelines: Names = ()
    tags: Names = ()
    sessions: Many = ()
    turns: Many = ()
    since: Moment | None = None
    until: Moment | None = None

    @property
    def is_empty(self) -> bool:
        return not msgspec.to_builtins(self)


class Known(_Part, frozen=True):
    """An item whose answers are known: of a turn, a session, or a pair (two turns); `why` is told in training."""

    expect: dict[str, Any]
    turn: Annotated[str, Meta(max_length=bounds.MAX_ID)] = ""
    session: Annotated[str, Meta(max_length=bounds.MAX_ID)] = ""
    pair: Annotated[tuple[str, ...], Meta(max_length=2)] = ()
    why: Annotated[str, Meta(max_length=bounds.MAX_LINE)] = ""


KnownItems = Annotated[tuple[Known, ...], Meta(max_length=200)]


class CampaignSpec(_Part, frozen=True):
    """What is annotated (`of`, `selection`), under which metrics, by whom, and how it is given out.

    `per_item`: how many annotators each item gets. `sample`: so many of what is selected, drawn by `seed`; null: all.
    `repeats`: which share an annotator is asked again, unawares. `lease`: minutes that an item waits for somebody who
    does nothing. `training` comes first, `gold` and `traps` are mixed among the rest. Without `annotators`, whoever has
    that role in the project is asked.
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)] = msgspec.field(name="campaign")
    metrics: Annotated[tuple[Named, ...], Meta(min_length=1, max_length=60)]
    selection: Selection = msgspec.field(name="from", default=Selection())
    of: Literal["turn", "session", "group", "pair"] = "turn"
    annotators: Names = ()
    per_item: Annotated[int, Meta(ge=1, le=50)] = 2
    sample: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Meta(ge=0, le=bounds.MAX_INT)] = 0
    blind: bool = True
    order: Literal["random", "given"] = "random"
    repeats: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    training: KnownItems = ()
    gold: KnownItems = ()
    traps: KnownItems = ()
    lease: Annotated[float, Meta(ge=SHORTEST_LEASE, le=LONGEST_LEASE)] = 15.0
    until: Moment | None = None
    description: Annotated[str, Meta(max_length=bounds.MAX_LINE)] = ""

    @property
    def content(self) -> dict[str, Any]:
        """Its YAML form without what only says the default; `parsed` reads it back."""
        return msgspec.json.decode(msgspec.json.encode(self))  # type: ignore[no-any-return]


def parse(text: str, where: str = "campaign") -> CampaignSpec:
    """Raises `CampaignSpecError` with the line."""
    try:
        documents = read_all(text, 1)
    except Unreadable as fault:
        raise CampaignSpecError(place(where, fault.line, str(fault))) from None
    content, lines = documents[0] if documents else (None, None)
    try:
        return parsed(content)
    except CampaignSpecError as fault:
        key = getattr(fault, "key", "")
        line = lines.keys.get(key, lines.line) if lines else 0
        raise CampaignSpecError(place(where, line, str(fault))) from None


def parsed(content: Any) -> CampaignSpec:
    """From a mapping, as YAML or JSON have it. Raises `CampaignSpecError`, whose `key` is the one that is wrong."""
    if not isinstance(content, Mapping):
        raise _wrong("", "a campaign is a mapping with at least campaign, from and metrics")
    keys = [field.encode_name for field in msgspec.structs.fields(CampaignSpec)]
    for key in content:
        if key not in keys:
            raise _wrong(str(key), f"unknown key {key!r}; {nearest(str(key), keys)}")
    try:
        made = msgspec.convert(_moments(content), CampaignSpec)
    except msgspec.ValidationError as error:
        found = re.search(r"\$\.(\w+)", str(error))
        raise _wrong(found[1] if found else "", told(error)) from None
    if not bounds.storable_json(made.content):
        raise _wrong("", "a campaign holds texts, numbers and lists, without NaN and NUL characters")
    _check(made)
    return made


def _moments(content: Mapping[str, Any]) -> dict[str, Any]:
    """With a day as its beginning, and a time without an offset as UTC."""
    made = {str(key): _moment(each) if key in MOMENTS else each for key, each in content.items()}
    if isinstance(made.get("from"), Mapping):
        made["from"] = {str(key): _moment(each) if key in MOMENTS else each for key, each in made["from"].items()}
    return made


def _moment(given: Any) -> Any:
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError:
            return given  # it is refused as what it is
    if isinstance(given, datetime):
        return given if given.tzinfo else given.replace(tzinfo=UTC)
    return datetime.combine(given, time(), UTC) if isinstance(given, date) else given


def _check(made: CampaignSpec) -> None:
    if not re.fullmatch(r"[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*", made.name) or made.name != made.name.strip():
        raise _wrong("campaign", f"{made.name!r} is no name: without '/', and with no '.' or blank at its beginning")
    for key in ("metrics", "annotators"):
        given = getattr(made, key)
        twice = next((each for each in given if given.count(each) > 1), None)
        if twice is not None:
            raise _wrong(key, f"{key} has {twice!r} twice")
    chosen = made.selection
    if chosen.is_empty:
        raise _wrong("from", "`from` says what is annotated: an experiment, tags, pipelines, sessions, turns, or since")
    if made.of == "group" and not chosen.tags:
        raise _wrong("from", "a group is the turns of a tag; name it, as in `from: {tags: [debate]}`")
    if made.annotators and made.per_item > len(made.annotators):
        raise _wrong("per_item", f"per_item is {made.per_item}, and there are {len(made.annotators)} annotators")
    for key in ("training", "gold", "traps"):
        for each in getattr(made, key):
            if (wrong := _known_fault(made.of, each)) is not None:
                raise _wrong(key, f"{key}: {wrong}")


def _known_fault(of: str, each: Known) -> str | None:
    named = {"turn": bool(each.turn), "session": bool(each.session), "pair": len(each.pair) == 2}
    if of == "group":
        return "a group has no known answers; leave it out"
    if [name for name, there in named.items() if there] != [of]:
        return f"an item of it names one {of}, as in `{{{of}: …, expect: {{overall: 5}}}}`"
    return None if each.expect else "`expect` has the answer to at least one metric"


def _wrong(key: str, reason: str) -> CampaignSpecError:
    error = CampaignSpecError(reason)
    error.key = key  # type: ignore[attr-defined]
    return error
