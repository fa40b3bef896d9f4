"""The work queue: turns to run, claimed by agents, handed on when an agent dies, put aside when they fail too often.

A claim sends a sign of life until it is settled; without one for `ACK_WAIT` seconds the turn goes to another agent.
Attempts are counted by deliveries. Whoever receives a turn beyond the last allowed attempt moves it to the dead
instead of running it: also when every agent that tried was killed, the turn stays in the queue until it is safe there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

import msgspec
from nats.aio.msg import Msg

from . import subjects
from .claim import Claim, TurnWork
from .connection import Bus, BusError, Stored
from .dead import DeadLetter, bury
from .pull import Puller
from .streams import ACK_WAIT

__all__ = ["MAX_ATTEMPTS", "Claim", "TurnWork", "WorkQueue", "enqueue"]

MAX_ATTEMPTS = 3
RECALL = 2.0
"""Seconds to wait for deliveries that the bus forgot."""

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(TurnWork)


async def enqueue(bus: Bus, work: TurnWork, key: str = "") -> Stored:
    """Puts a turn into its project's queue; on disk when this returns. The same `key` (default: the turn's id) again
    within the hour changes nothing; give another one to run a turn again."""
    if not work.ready_at:
        work.ready_at = time.time()
    return await bus.store(subjects.work(work.project), _encode(work), key or work.turn_id)


class WorkQueue:
    """An agent's end of its project's queue; an async context manager.

    The server role makes the project's consumer first (`streams.work_consumer`, with the same `ack_wait`).
    """

    def __init__(self, bus: Bus, project: str, *, max_attempts: int = MAX_ATTEMPTS, ack_wait: float = ACK_WAIT) -> None:
        self._bus = bus
        self._project = project
        self._max_attempts = max_attempts
        self._beat = ack_wait / 3
        self._puller = Puller(bus, subjects.WORK, subjects.work_consumer(project), subjects.work(project))
        self._pulling = asyncio.Lock()
        self._ready: deque[Claim] = deque()

    async def __aenter__(self) -> Self:
        await self._puller.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._puller.__aexit__(*exc)
        # What came while nobody was claiming goes to another agent at once.
        while self._ready:
            await self._ready.popleft().release()
        while message := self._puller.next_nowait():
            await self._bus.publish(message.reply, b"-NAK")

    async def claim(self) -> Claim:
        """Waits for a turn. May be cancelled; call it only when there is a slot for what it gives."""
        while not self._ready:
            await self._pull()
        return self._ready.popleft()

    async def claims(self) -> AsyncIterator[Claim]:
        """One after another, for ever."""
        while True:
            yield await self.claim()

    async def _pull(self) -> None:
        async with self._pulling:
            if not self._ready:
                # A message in hand must become a claim: not to be cut off in between.
                await asyncio.shield(self._received(await self._puller.next()))

    async def _recall(self) -> None:
        """Lets forgotten deliveries come again; each finds its holder."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECALL):
                await self._pull()

    async def _received(self, message: Msg) -> None:
        try:
            work = _decoder.decode(message.data)
        except msgspec.MsgspecError as error:
            await self._bury_unreadable(message, str(error))
            return
        claim = await Claim.take(
            self._bus, message, work, beat=self._beat, max_attempts=self._max_attempts, recall=self._recall
        )
        if claim is None:
            return
        if claim.attempt <= self._max_attempts:
            self._ready.append(claim)
            return
        with contextlib.suppress(BusError):
            await claim.bury(f"{self._max_attempts} attempts ended without an answer: the agents that ran it were lost")

    async def _bury_unreadable(self, message: Msg, reason: str) -> None:
        sequence = message.metadata.sequence.stream
        letter = DeadLetter(
            kind="turn", key=f"sequence-{sequence}", reason=f"not a turn of this version: {reason}",
            cause="unreadable", subject=message.subject, content=message.data,
        )  # fmt: skip
        await bury(self._bus, self._project, letter, f"unreadable-{sequence}")
        await self._bus.publish(message.reply, b"+TERM")
