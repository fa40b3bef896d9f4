"""A microphone in a quiet room that hears, in real time, what a caller says, and no echo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from ... import clock
from ...errors import OpenOmniError
from ...events import AXIS_RATE
from ...media import Samples
from ...storage.spool import Spool, SpoolRecording
from ..listener.sources import BLOCK, BLOCK_S, Block
from .utterance import SpokenUtterance

ROOM_NOISE = 10 ** (-66 / 20)
"""Root mean square of the room when nobody speaks: −66 dBFS, a quiet one."""


@dataclass(slots=True)
class SaidUtterance:
    """An utterance as it was played into the microphone: stamps (this clock) of its first speech sample and of the
    end of its last; `position` is where its `audio` begins on the session's axis."""

    utterance: SpokenUtterance
    position: int
    start: float
    end: float

    @property
    def span(self) -> tuple[int, int]:
        """Where the speech lies on the session's axis, in samples."""
        return self.position + self.utterance.start, self.position + self.utterance.end


class Room:
    """The microphone: a block of 20 ms goes out when its last sample was captured."""

    label = "bench"
    decides_turns = False
    ambient = False

    def __init__(self, seed: int) -> None:
        noise = np.random.default_rng(seed).standard_normal(10 * AXIS_RATE)
        self._noise: Samples = (noise * ROOM_NOISE).astype(np.float32)
        self._saying: list[tuple[int, Samples]] = []
        self._position = 0
        self.began = 0.0
        self._stopped = False
        self.late: list[float] = []
        """Seconds that each block went out later than a real microphone would have given it."""
        self.sent: list[bytes] = []
        """Each block, as PCM16."""

    def check(self) -> None:
        pass

    def open(self, spool: Spool, session_id: str, recording_id: str) -> list[SpoolRecording]:
        return []  # the gateway records

    def stop(self) -> None:
        self._stopped = True

    def say(self, utterance: SpokenUtterance, at: float | None = None) -> SaidUtterance:
        """From the next block on, or so that its sound begins at the stamp `at`, where that is still to come."""
        if not self.began:
            raise OpenOmniError("the microphone is not open yet")
        position = self._position
        if at is not None:
            position = max(position, round((at - self.began) * AXIS_RATE))
        self._saying.append((position, utterance.audio.samples))
        start, end = (self.began + (position + place) / AXIS_RATE for place in (utterance.start, utterance.end))
        return SaidUtterance(utterance, position, start, end)

    async def capture(self) -> AsyncIterator[Block]:
        self.began = clock.now()
        while not self._stopped:
            captured = self.began + self._position / AXIS_RATE
            due = captured + BLOCK_S
            await asyncio.sleep(max(due - clock.now(), 0.0))
            self.late.append(clock.now() - due)
            block = Block(self._position, captured, self._block())
            self._position += BLOCK
            yield block

    def _block(self) -> bytes:
        first = self._position % (len(self._noise) - BLOCK)
        samples = self._noise[first : first + BLOCK].copy()
        for position, speech in self._saying:
            into = self._position - position
            if into > -BLOCK:
                piece = speech[max(into, 0) : into + BLOCK]
                samples[max(-into, 0) : max(-into, 0) + len(piece)] += piece
        self._saying = [each for each in self._saying if each[0] + len(each[1]) > self._position + BLOCK]
        pcm: bytes = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes()
        self.sent.append(pcm)
        return pcm
