"""One row as it is taken apart: what a format knows goes into an utterance, what it doesn't is kept beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from .. import bounds
from ..errors import nearest
from .problems import Problems, shown
from .samples import MAX_FIELDS, RESERVED, AfterReply, AtTime, Sound, Utterance, When, seconds

TEXT = ("text", "transcription", "transcript", "sentence")
"""A row's text by the names that it goes by, the first that is there."""
_NAMES = {
    "speaker": ("speaker", "speaker_id"),
    "emotion": ("emotion",),
    "language": ("language", "lang"),
    "consent": ("consent",),
    "source": ("source",),
}
RULES = ("after_reply", "after_pause", "into_reply", "at_time")


class Record:
    """A row's values; each that is taken is gone. What is not as it should be is listed, and `ok` is False then."""

    def __init__(self, where: str, values: dict[str, Any], problems: Problems) -> None:
        self.where = where
        self.ok = True
        self._values = dict(values)
        self.problems = problems

    def wrong(self, what: str) -> None:
        self.ok = False
        self.problems.error("row", self.where, what)

    def beyond(self, what: str) -> None:
        self.ok = False
        self.problems.error("bounds", self.where, what)

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def take(self, *names: str) -> Any:
        """The first of these that is there, as it is; None where none is."""
        found = next((name for name in names if self._values.get(name) is not None), None)
        return None if found is None else self._values.pop(found)

    def text(self, *names: str, limit: int = bounds.MAX_TEXT) -> str | None:
        """Text; a number is taken for its digits."""
        value = self.take(*names)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong(f"`{names[0]}` is {shown(value)}, and no text; put it in quotes")
            return None
        if len(value) > limit:
            self.beyond(f"`{names[0]}` has {len(value):,} characters, where {limit:,} are the most; shorten it")
            return None
        if not bounds.storable(value):
            self.wrong(f"`{names[0]}` has a NUL or half a character in it; take it out")
            return None
        if any("\x80" <= character <= "\x9f" for character in value):
            self.problems.warning(
                "encoding",
                self.where,
                f"`{names[0]}` has control characters where Windows-1252 has "
                "quotes and dashes; convert the file from that",
            )
        return value

    def name(self, *names: str) -> str:
        return self.text(*names, limit=bounds.MAX_NAME) or ""

    def number(self, *names: str) -> float | None:
        """A finite number, of a size that a time may have."""
        value = self.take(*names)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                self.wrong(f"`{names[0]}` is {shown(value)}, and no number; write it as 1.25")
                return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.wrong(f"`{names[0]}` is {shown(value)}, and no number; write it as 1.25")
            return None
        # An integer of a thousand digits is no float, and a comparison with one is none's.
        if (isinstance(value, int) and abs(value) > bounds.MAX_SECONDS) or not bounds.finite(value):
            self.beyond(f"`{names[0]}` is {shown(value)}, which no time is; correct it")
            return None
        return seconds(value)

    def time(self, *names: str) -> float | None:
        """Seconds from a beginning: a number, not below 0."""
        value = self.number(*names)
        if value is not None and value < 0:
            self.wrong(f"`{names[0]}` is {value:g}, before the beginning; times count from 0")
            return None
        return value

    def count(self, *names: str, low: int = 0, high: int = 100_000) -> int | None:
        value = self.number(*names)
        if value is None:
            return None
        if not math.isclose(value, round(value)) or not low <= value <= high:
            self.wrong(f"`{names[0]}` is {value:g}; it is a whole number from {low} to {high}")
            return None
        return round(value)

    def when(self) -> When:
        """The rule when it is said: an object as our JSON has it, the same as text, or a rule's mere name."""
        value = self.take("when")
        if value is None:
            return AfterReply()
        try:
            if isinstance(value, str):
                value = msgspec.json.decode(value) if value.lstrip().startswith("{") else {"rule": value.strip()}
            if isinstance(value, dict):
                # A table that holds rules of several kinds has a column for each of their parts.
                value = {key: each for key, each in value.items() if each is not None}
            when: When = msgspec.convert(value, When)
            assert not isinstance(when, AtTime) or bounds.finite(when.seconds)
        except (msgspec.MsgspecError, AssertionError, RecursionError, OverflowError, UnicodeEncodeError) as error:
            rule = value.get("rule") if isinstance(value, dict) else None
            hint = nearest(rule, RULES) if isinstance(rule, str) and rule not in RULES else str(error)
            self.wrong(f"`when` is {shown(value)}, and no rule: {hint}")
            return AfterReply()
        return when

    def sound(self, path: str | None) -> Sound | None:
        """`start`, `end`, `track` and `channel`, as our own tables have them."""
        start, end = self.time("start"), self.time("end")
        track, channel = self.count("track", low=1, high=100), self.count("channel", low=1, high=64)
        return self.stretch(path, start or 0.0, end, track, channel)

    def stretch(
        self, path: str | None, start: float, end: float | None, track: int | None = None, channel: int | None = None
    ) -> Sound | None:
        """A stretch of a file, None and listed where it has no length."""
        if end is not None and end <= start:
            self.ok = False
            self.problems.error(
                "segment",
                self.where,
                f"it ends at {end:g} s, which is not after its start at {start:g} s; correct one of them",
            )
            return None
        return (
            None if path is None else Sound(path, seconds(start), None if end is None else seconds(end), track, channel)
        )

    def utterance(self, sound: Sound | None, *, id: str = "", fields: dict[str, Any] | None = None) -> Utterance | None:
        """With the references that go by the same names everywhere, and all that is left as other fields; None where
        something was wrong, so that it is never half of what the row says."""
        text = self.text(*TEXT)
        answer = self.text("answer")
        names = {
            key: self.text(*names, limit=bounds.MAX_LINE if key == "source" else bounds.MAX_NAME) or ""
            for key, names in _NAMES.items()
        }
        when = self.when()
        rest = {**self.rest(), **(fields or {})}
        if sound is None or not self.ok:
            return None
        return Utterance(sound=sound, id=id, text=text, answer=answer, when=when, fields=rest, **names)

    def rest(self, dropped: Iterable[str] = ()) -> dict[str, Any]:
        """All that was not taken."""
        for name in dropped:
            self._values.pop(name, None)
        kept = {name: value for name, value in self._values.items() if value is not None}
        if len(kept) > MAX_FIELDS:
            self.beyond(f"it has {len(kept)} fields of its own, where {MAX_FIELDS} are the most; take some out")
            return {}
        for name, value in kept.items():
            if not name or len(name) >= bounds.MAX_NAME or not bounds.storable(name):
                self.beyond(f"a field is named {shown(name)}; a name has 1 to {bounds.MAX_NAME - 1} characters")
                return {}
            if not bounds.storable_json(value, depth=8):
                self.beyond(
                    f"`{name}` is {shown(value)}, which can't be kept: a number that is none or too large, a NUL, or "
                    "more than 8 levels; take it out"
                )
                return {}
        return {free(name): value for name, value in kept.items()}


def free(name: str) -> str:
    """A name for another field that means nothing in what we write."""
    return f"{name}_" if name in RESERVED else name
