"""The work queue: claimed by agents, handed on when an agent dies, put aside when it fails too often.

A claim sends a sign of life until it is settled; without one for `ACK_WAIT` seconds the work goes to another agent.
Attempts are counted by deliveries. Whoever receives work beyond the last allowed attempt moves it to the dead instead
of doing it: also when every agent that tried was killed, it stays in the queue until it is safe there.
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

from .. import clock
from . import envelope, subjects
from .claim import Claim
from .connection import Bus, BusError, StoredMessage
from .dead import DeadLetter, bury
from .envelope import REPROCESS, Lane, TurnWork, Work
from .pull import Puller
from .streams import ACK_WAIT

__all__ = ["MAX_ATTEMPTS", "Claim", "TurnWork", "Work", "WorkQueue", "enqueue"]

MAX_ATTEMPTS = 3
RECALL = 2.0
"""Seconds to wait for deliveries that the bus forgot."""
KEPT_S, KEPT = 30.0, 100
"""How long, and how many at most, of what was done are remembered: a bus that dies may forget that it was told."""


async def enqueue(bus: Bus, work: Work) -> StoredMessage:
    """Puts work into its project's queue; on disk when this returns. The same work and attempt again within the hour
    changes nothing; `Work.again` is how it is done once more."""
    if not work.ready_at:
        work.ready_at = time.time()
    subject = subjects.work(work.project, work.lane, work.group, work.kind)
    return await bus.store(subject, envelope.encode(work), work.message_id)


class WorkQueue:
    """An agent's end of one lane of its project's queue; an async context manager.

    The server role makes the project's consumer first (`streams.work_consumer`, with the same `ack_wait`).
    """

    def __init__(
        self,
        bus: Bus,
        project: str,
        lane: Lane = REPROCESS,
        *,
        max_attempts: int = MAX_ATTEMPTS,
        ack_wait: float = ACK_WAIT,
    ) -> None:
        self._bus = bus
        self._project = project
        self._max_attempts = max_attempts
        self._beat = ack_wait / 3
        accepted = subjects.work_lane(project, lane), subjects.earlier_work(project)
        self._puller = Puller(bus, subjects.WORK, subjects.work_consumer(project, lane), *accepted)
        self._pulling = asyncio.Lock()
        self._ready: deque[Claim] = deque()
        self._done: deque[tuple[float, Claim]] = deque()

    async def __aenter__(self) -> Self:
        await self._puller.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._puller.__aexit__(*exc)
        while self._done:
            await self._done.popleft()[1].forget()
        # What came while nobody was claiming goes to another agent at once.
        while self._ready:
            await self._ready.popleft().release()
        while message := self._puller.next_nowait():
            await self._bus.publish(message.reply, b"-NAK")

    async def claim(self) -> Claim:
        """Waits for work. May be cancelled; call it only when there is a slot for what it gives."""
        while not self._ready:
            await self._pull()
        return self._ready.popleft()

    async def withdraw(self) -> None:
        """Asks for no work until the next `claim`; what was on its way by then is claimed, and waits for that."""
        async with self._pulling:
            await self._puller.withdraw()
            while message := self._puller.next_nowait():
                await asyncio.shield(self._received(message))

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

    async def _rest(self, claim: Claim) -> None:
        """Remembers what is settled for a while."""
        now = clock.now()
        self._done.append((now, claim))
        while self._done and (len(self._done) > KEPT or self._done[0][0] < now - KEPT_S):
            await self._done.popleft()[1].forget()

    async def _received(self, message: Msg) -> None:
        try:
            work = envelope.decode(message.data, message.subject)
        except msgspec.MsgspecError as error:
            await self._bury_unreadable(message, str(error))
            return
        claim = await Claim.take(
            self._bus, message, work, beat=self._beat, max_attempts=self._max_attempts, recall=self._recall,
            rest=self._rest,
        )  # fmt: skip
        if claim is None:
            return
        if claim.attempt <= self._max_attempts:
            self._ready.append(claim)
            return
        with contextlib.suppress(BusError):
            await claim.bury(f"{self._max_attempts} attempts ended without an answer: the agents that ran it were lost")

    async def _bury_unreadable(self, message: Msg, reason: str) -> None:
        sequence = message.metadata.sequence.stream
        *_, kind = message.subject.split(".") if message.subject.count(".") > 2 else ("turn",)
        letter = DeadLetter(
            kind=kind, key=f"sequence-{sequence}", reason=f"not a {kind} of this version: {reason}",
            cause="unreadable", subject=message.subject, content=message.data,
        )  # fmt: skip
        await bury(self._bus, self._project, letter, f"unreadable-{sequence}")
        await self._bus.publish(message.reply, b"+TERM")
