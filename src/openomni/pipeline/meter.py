"""What an attempt at a task consumed: counted as it goes by, for what its component does not say itself."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from typing import Any

from ..bounds import MAX_INT, MAX_NAME
from ..events import Picture, Prompt, Sound, Text, Transcript, Usage, Value
from ..records import UsageRecord

_SUMS = tuple(name for name in UsageRecord.__struct_fields__ if name != "currency")


class Meter:
    """Of one attempt: `counted` its inputs, each output to `gave`, then the `record`."""

    def __init__(self) -> None:
        self._texts = 0
        self._inputs = 0
        self._given_characters = 0
        self._written = 0
        self._transcript = 0
        self._seconds_in: float | None = None
        self._seconds_out: float | None = None
        self._images: int | None = None
        self._said: Usage | None = None

    def counted(self, inputs: AsyncIterator[Value]) -> AsyncIterator[Value]:
        return _Counted(self, inputs)

    def given(self, value: Value) -> None:
        self._inputs += 1
        match value:
            case Sound():
                self._seconds_in = (self._seconds_in or 0.0) + value.audio.duration
            case Text() if value.text.strip():
                self._texts += 1
                self._given_characters += len(value.text)
            case Prompt():
                self._see(sum(len(message.images) for message in value.messages))
            case Picture():
                self._see(1)

    def gave(self, value: Value) -> None:
        match value:
            case Sound():
                self._seconds_out = (self._seconds_out or 0.0) + value.audio.duration
            case Text():
                self._written += len(value.text)
            case Transcript():
                self._transcript = len(value.text)
            case Usage():
                self._said = value if self._said is None else self._said + value

    def record(self, kind: str) -> UsageRecord | None:
        """None where nothing was given to it."""
        if not self._inputs:
            return None
        said, voice = self._said or Usage(), kind == "tts"
        counted = {
            "requests": self._texts if voice else 1,
            "characters": (self._given_characters if voice else self._written + self._transcript) or None,
            "seconds_in": self._seconds_in,
            "seconds_out": self._seconds_out,
            "images": self._images,
        }
        names = ("requests", "input_tokens", "cached_tokens", "output_tokens", "characters", "images")
        told: dict[str, Any] = {name: _count(getattr(said, name)) for name in names}
        told["seconds_out" if voice else "seconds_in"] = _amount(said.seconds)
        if (cost := _amount(said.cost)) is not None:
            told |= {"cost": cost, "currency": str(said.currency)[:MAX_NAME]}
        return UsageRecord(**{**counted, **{name: value for name, value in told.items() if value is not None}})

    def _see(self, pictures: int) -> None:
        if pictures:
            self._images = (self._images or 0) + pictures


def total(usages: Iterable[UsageRecord | None]) -> UsageRecord | None:
    """All together; what one of them does not know is what the others do. Money of two currencies is not added up: the
    sum is unknown then."""
    known = [usage for usage in usages if usage is not None]
    if not known:
        return None
    sums: dict[str, Any] = {}
    for name in _SUMS:
        parts = [part for usage in known if (part := getattr(usage, name)) is not None]
        sums[name] = sum(parts) if parts else None
    currencies = {usage.currency for usage in known if usage.cost is not None}
    if len(currencies) > 1:
        sums["cost"] = None
    return UsageRecord(**sums, currency=currencies.pop() if len(currencies) == 1 else "")


class _Counted:
    # No generator: it needs no closing when a component leaves it.
    def __init__(self, meter: Meter, inputs: AsyncIterator[Value]) -> None:
        self._meter, self._inputs = meter, inputs

    def __aiter__(self) -> _Counted:
        return self

    async def __anext__(self) -> Value:
        value = await anext(self._inputs)
        self._meter.given(value)
        return value

    async def aclose(self) -> None:
        close = getattr(self._inputs, "aclose", None)
        if close is not None:
            await close()


def _count(value: object) -> int | None:
    """What a component calls a number may be any object."""
    return value if isinstance(value, int) and 0 <= value <= MAX_INT else None


def _amount(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None
