"""How long a silence ends an utterance: always as long, or as long as what was said asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ..events import AXIS_RATE, Endings
from ..media import Audio
from .settings import Settings

TAIL_SECONDS = 0.2
"""Sound after the last speech sample that still belongs to the utterance: a soft ending."""
JUDGED_SECONDS = 8.0
"""How much of an utterance is looked at to say whether the person has finished."""
JUDGING_SECONDS = 0.15
"""How long before the usual silence is full a finished sentence is asked about, at the latest."""
SURE = 0.985
"""A recogniser that is so sure of the end is believed alone. Of 248 ends it was of 33 %, of 114 pauses of 4 %."""

Judge = Callable[[Audio, str, Endings], Awaitable[float | None]]
"""The probability that the person has finished, from the sound so far (16 kHz), its transcript, and what the models
that made and read that think of its end; None where it can't say."""


class Judgement(NamedTuple):
    """`finished`: how likely the person has finished, None where nobody can say; `silence`: seconds of it that end this
    utterance."""

    finished: float | None
    silence: float


class EndOfTurn:
    """`judge` is asked at pauses, where the pipeline names one."""

    def __init__(self, settings: Settings, judge: Judge | None) -> None:
        self._settings, self._judge = settings, judge

    @property
    def asks(self) -> bool:
        return self._judge is not None and self._settings.semantic

    def reads(self, recogniser: float | None) -> bool:
        """Whether the language model is asked, too: that holds its reply up a little."""
        return self.asks and (recogniser is None or recogniser < SURE)

    @property
    def usual(self) -> float:
        """Seconds of silence that end an utterance about which nothing more is known."""
        taking = self._settings.taking
        return max(taking.unfinished_silence, taking.end_of_turn_silence) if self.asks else taking.end_of_turn_silence

    @property
    def asked_at_last(self) -> float:
        """Seconds of silence after which the judge is asked, whatever else is not known yet."""
        return self.usual - JUDGING_SECONDS

    def looked_at(self, start: int, end: int) -> tuple[int, int]:
        """Which samples of an utterance the judge hears."""
        return max(start, end - round(JUDGED_SECONDS * AXIS_RATE)), end + round(TAIL_SECONDS * AXIS_RATE)

    async def ask(self, heard: Audio, text: str, endings: Endings) -> Judgement:
        """What the judge says, and how long to wait therefore."""
        assert self._judge is not None
        taking = self._settings.taking
        finished = await self._judge(heard, text, endings)
        silence = self.usual
        if finished is not None and finished >= taking.turn_threshold:
            silence = taking.end_of_turn_silence
        elif finished is not None and finished < taking.open_threshold:
            silence = max(taking.open_silence, self.usual)
        return Judgement(finished, silence)
