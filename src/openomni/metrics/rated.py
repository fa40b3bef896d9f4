"""Metrics that people and judges answer, as data: a question about something, and the scale of its answers.

A file holds one or more, each a YAML document::

    metric: appropriateness
    about: turn
    question: Does the reply fit what the person said?
    scale: {kind: integer, from: 0, to: 5, words: {0: totally wrong, 5: as a person would have}}
    better: higher
    guidance: |
      Judge what was said, not how it sounded.

Two that differ in anything but their name are two versions: a score says which one it answered.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .. import bounds
from ..components.kinds import KINDS as COMPONENT_KINDS
from ..errors import WrongUsage, nearest
from ..yaml_text import Unreadable, place, read_all, told
from .scales import KINDS, OffScale, Rated, Scale

ABOUT = ("turn", "session", "group", "pair")
"""What a metric may be about, beside a stage's output, which goes by the component's kind."""
MAX_FILE = 256 << 10
MAX_IN_FILE = 100
FINGERPRINT = 8


class RatedMetricError(WrongUsage):
    """A metric that nobody could answer; one line with the place, the reason and the mend."""


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A spoken example of an answer: a recording of the project (`recording`, its id) or what was said and replied
    (`said`, `reply`), the answer that it should get, and why."""

    answer: Any
    recording: Annotated[str, Meta(max_length=bounds.MAX_ID)] = ""
    said: Annotated[str, Meta(max_length=2_000)] = ""
    reply: Annotated[str, Meta(max_length=2_000)] = ""
    why: Annotated[str, Meta(max_length=2_000)] = ""


class RatedMetric(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question and the scale of its answers.

    `about`: `turn`, `session`, `group` (turns that belong together, rated as a whole), `pair` (two replies to the same)
    or the kind of a stage whose output it is (`stt`, `llm`, …). `better` is empty where no answer is better than
    another. `ask_in`: the pass in which it is asked; what would colour each other is asked in separate passes.
    """

    name: Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[a-z0-9][a-z0-9._-]*$")] = msgspec.field(
        name="metric"
    )
    question: Annotated[str, Meta(min_length=1, max_length=500)]
    scale: Scale
    about: Annotated[str, Meta(max_length=40)] = "turn"
    title: Annotated[str, Meta(max_length=80)] = ""
    better: Literal["higher", "lower", ""] = ""
    unit: Annotated[str, Meta(max_length=20)] = ""
    guidance: Annotated[str, Meta(max_length=10_000)] = ""
    source: Annotated[str, Meta(max_length=500)] = ""
    """Where the question comes from: a paper, a recommendation."""
    examples: Annotated[tuple[Example, ...], Meta(max_length=20)] = ()
    required: bool = True
    comment: bool = True
    """Whether a rater may write a line to the answer."""
    ask_in: Annotated[int, Meta(ge=1, le=9)] = msgspec.field(default=1, name="pass")

    @property
    def content(self) -> dict[str, Any]:
        """Its YAML form without what only says the default; `parsed` reads it back."""
        return msgspec.json.decode(msgspec.json.encode(self))  # type: ignore[no-any-return]

    @property
    def version(self) -> str:
        """Identifies what is asked: 8 hex digits of the SHA-256 of all but the name."""
        content = {key: value for key, value in self.content.items() if key != "metric"}
        canonical = msgspec.json.encode(content, order="deterministic")
        return hashlib.sha256(canonical).hexdigest()[:FINGERPRINT]

    @property
    def label(self) -> str:
        """What a page calls it."""
        return self.title or self.name.replace("_", " ").replace("-", " ").capitalize()

    def rate(self, answer: Any) -> Rated:
        """Raises `OffScale` for an answer that its scale does not have."""
        try:
            return self.scale.rate(answer)
        except OffScale as no:
            raise OffScale(f"{self.name} {no}") from None


def parse(text: str, where: str = "metrics") -> list[RatedMetric]:
    """All metrics of a YAML text. Raises `RatedMetricError` for the first that is wrong."""
    try:
        documents = read_all(text, MAX_IN_FILE)
    except Unreadable as fault:
        raise RatedMetricError(place(where, fault.line, str(fault))) from None
    made: list[RatedMetric] = []
    for content, lines in documents:
        try:
            made.append(parsed(content))
        except RatedMetricError as fault:
            key = getattr(fault, "key", "")
            raise RatedMetricError(place(where, lines.keys.get(key, lines.line), str(fault))) from None
        if made[-1].name in {each.name for each in made[:-1]}:
            raise RatedMetricError(place(where, lines.line, f"the metric {made[-1].name} is there twice"))
    if not made:
        raise RatedMetricError(f"{where}: there is no metric in it; a metric has at least metric, question and scale")
    return made


def load(path: str | Path) -> list[RatedMetric]:
    """Reads a file of metrics. Raises `RatedMetricError` where it is missing, too large or wrong."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise RatedMetricError(f"{path}: {error.strerror or error}; check the path") from None
    if len(raw) > MAX_FILE:
        raise RatedMetricError(f"{path}: a file of metrics has at most {MAX_FILE >> 10} KiB")
    try:
        return parse(raw.decode(), str(path))
    except UnicodeDecodeError:
        raise RatedMetricError(f"{path}: not UTF-8 text; metrics are a YAML file") from None


def parsed(content: Any) -> RatedMetric:
    """From a mapping, as YAML or JSON have it. Raises `RatedMetricError`, whose `key` is the one that is wrong."""
    if not isinstance(content, Mapping):
        raise _wrong("", "a metric is a mapping with metric, question and scale")
    keys = [field.encode_name for field in msgspec.structs.fields(RatedMetric)]
    for key in content:
        if key not in keys:
            raise _wrong(str(key), f"unknown key {key!r}; {nearest(str(key), keys)}")
    texts = _text_keys(content)
    if not bounds.storable_json(texts):
        raise _wrong("", "a metric holds texts, numbers and lists, without NaN, dates and NUL characters")
    whole = {**texts, "scale": _scale(texts.get("scale"))}
    try:
        made = msgspec.convert(whole, RatedMetric)
    except msgspec.ValidationError as error:
        raise _wrong(_key(error, keys), told(error)) from None
    _check(made)
    return made


@cache
def builtin() -> dict[str, RatedMetric]:
    """Those that come along, by name."""
    folder = resources.files(__package__) / "questions"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda each: each.name)
    return {made.name: made for entry in files for made in parse(entry.read_text(encoding="utf-8"), entry.name)}


def _check(made: RatedMetric) -> None:
    """What no type can say."""
    about = (*ABOUT, *(name for name, kind in COMPONENT_KINDS.items() if kind.stage))
    if made.about not in about:
        raise _wrong("about", f"about {made.about!r} is nothing that can be rated; {nearest(made.about, about)}")
    if fault := made.scale.fault():
        raise _wrong("scale", f"the scale of {made.name}: {fault}")
    kind = made.scale.__struct_config__.tag
    if (made.about == "pair") != (kind == "preference"):
        mend = "a pair takes the scale `preference`" if made.about == "pair" else "`preference` is for about: pair"
        raise _wrong("scale", f"{made.name} is about a {made.about}, and its scale is {kind}; {mend}")
    if kind == "correction" and made.about not in ("stt", "llm", "end_to_end", "turn"):
        raise _wrong("scale", f"{made.name} corrects a text, and a {made.about} has none; take about: stt or llm")
    if kind == "spans" and made.about not in ("turn", "session"):
        raise _wrong("scale", f"{made.name} marks stretches, and a {made.about} has no time axis; take turn or session")
    for each in made.examples:
        try:
            made.scale.rate(each.answer)
        except OffScale as no:
            raise _wrong("examples", f"an example of {made.name} {no}") from None


def _scale(given: Any) -> Any:
    """A kind alone stands for its defaults; what was meant is named where the kind is none."""
    found = {"kind": given} if isinstance(given, str) else given
    if not isinstance(found, Mapping):
        raise _wrong("scale", f"`scale` takes a kind, or a mapping with one; there are: {', '.join(KINDS)}")
    kind = found.get("kind")
    if kind not in KINDS:
        raise _wrong("scale", f"unknown kind of scale {kind!r}; {nearest(str(kind), KINDS)}")
    own = [field.encode_name for field in msgspec.structs.fields(KINDS[str(kind)])]
    for key in found:
        if key not in (*own, "kind"):
            raise _wrong("scale", f"a scale of kind {kind} has no {key!r}; {nearest(str(key), own)}")
    return found


def _text_keys(value: Any) -> Any:
    """YAML takes `0: wrong` for a number's word; JSON has texts alone for keys."""
    if isinstance(value, Mapping):
        return {_key_text(key): _text_keys(each) for key, each in value.items()}
    return [_text_keys(each) for each in value] if isinstance(value, list | tuple) else value


def _key_text(key: Any) -> Any:
    return f"{key:g}" if isinstance(key, int | float) and not isinstance(key, bool) else key


def _wrong(key: str, reason: str) -> RatedMetricError:
    error = RatedMetricError(reason)
    error.key = key  # type: ignore[attr-defined]
    return error


def _key(error: msgspec.ValidationError, keys: Iterable[str]) -> str:
    found = re.search(r"\$\.(\w+)", str(error))
    return found[1] if found and found[1] in keys else ""
