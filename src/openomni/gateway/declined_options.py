"""What a client asked of its session and no component had, told to it in one line each."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .protocol import Json, error
from .realtime_settings import OPENAI_VOICES, PLACES

MAX_TOLD = 256
"""Lines to one client; what it asks beyond is not told any more."""


class DeclinedOptions:
    """Of one client."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def errors(self, record: bytes) -> Iterator[Json]:
        """An `error` event for each voice or language that a turn (its record as JSON) went without, the first time.
        Nobody is told of OpenAI's voices: clients name one as a matter of course."""
        if b'"declined"' not in record:  # most turns: they are not read
            return
        for stage in msgspec.json.decode(record)["stages"]:
            for option, reason in stage["output"].get("declined", {}).items():
                asked = (option, stage["output"]["asked"][option])
                if len(self._told) < MAX_TOLD and asked not in self._told and asked[1] not in OPENAI_VOICES:
                    self._told.add(asked)
                    yield error("unsupported_value", reason, param=PLACES[option])
