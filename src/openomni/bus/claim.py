"""Claimed work: ours until it is settled, and nobody else's, also when the bus forgets that it gave it to us.

A server that is killed loses what it delivered, and what it was told is done, in its last tenth of a second, and hands
those out again. So the holder of a claim answers on a subject of its own, for a while after it is done too, and whoever
is given some asks there first: if the holder lives, it gets the new delivery, or settles it again, and it is done once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Self

from nats.aio.msg import Msg

from .. import clock
from ..background import Background
from . import dead, subjects
from .connection import Bus, BusError, NoAnswer, SubjectDenied
from .dead import DeadLetter
from .envelope import Work
from .subscription import Subscription

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds for which a finished claim tries to be acknowledged while the bus is away."""
HOLDER = 1.0
"""Seconds that a holder has to say that it lives."""


class Claim:
    """Work that is ours until it is settled by `done`, `fail` or `release`. As a context manager it is released on
    the way out if nobody settled it."""

    def __init__(
        self,
        bus: Bus,
        message: Msg,
        work: Work,
        max_attempts: int,
        recall: Callable[[], Awaitable[None]],
        rest: Callable[[Claim], Awaitable[None]],
    ) -> None:
        self.work = work
        self.attempt: int = message.metadata.num_delivered or 1
        """How often it was given to an agent since it was put into the queue."""
        self.sequence: int = message.metadata.sequence.stream
        self.subject = message.subject
        self.claimed = clock.now()
        self._bus = bus
        self._content = message.data
        self._verdict_on = message.reply
        self._max_attempts = max_attempts
        self._recall, self._rest = recall, rest
        self._settled = False
        self._final = b""
        """The verdict with which nobody is to get it again."""
        self._beating: Background | None = None
        self._questions: Subscription | None = None

    @classmethod
    async def take(
        cls,
        bus: Bus,
        message: Msg,
        work: Work,
        *,
        beat: float,
        max_attempts: int,
        recall: Callable[[], Awaitable[None]],
        rest: Callable[[Claim], Awaitable[None]],
    ) -> Claim | None:
        """None when an agent that lives holds this, or has done it; it then goes on with this delivery. `recall` lets
        forgotten deliveries come again; `rest` keeps what is settled for a while, and then ends it with `forget`."""
        claim = cls(bus, message, work, max_attempts, recall, rest)
        subject = subjects.claim(work.project, claim.sequence)
        try:
            await bus.request(subject, message.reply.encode(), HOLDER)
        except NoAnswer:
            claim._questions = await bus.subscribe(subject, claim._still_mine)
            claim._beating = Background(lambda: claim._beat(beat), f"the sign of life of {claim.name}", longest=beat)
            return claim
        log.info("%s was handed out again, but its agent lives; left to it", claim.name)
        return None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.work.kind} {self.work.work_id}"

    @property
    def settled(self) -> bool:
        return self._settled

    @property
    def last(self) -> bool:
        """Whether a failure now is final."""
        return self.attempt >= self._max_attempts

    async def done(self) -> None:
        """It is run and recorded; nobody gets it again."""
        await self._settle(b"+ACK")

    async def fail(self, reason: str, *, retry: bool = True, delay: float = 1.0) -> bool:
        """It failed: again in `delay` seconds (doubled with each attempt), or, after the last one, to the dead.
        Returns whether it will be tried again. `retry=False`: trying again can't help."""
        if retry and not self.last:
            pause = delay * 2 ** (self.attempt - 1)
            await self._settle(b"-NAK " + json.dumps({"delay": int(pause * 1e9)}).encode())
            return True
        await self.bury(reason)
        return False

    async def release(self) -> None:
        """Gives it back at once, for another agent."""
        await self._settle(b"-NAK")

    async def drop(self) -> None:
        """It is wanted no more, and was taken out of the queue: the bus is told, and need not answer."""
        if self._settled:
            return
        self._settled, self._final = True, b"+TERM"
        if self._beating:
            self._beating.cancel()
        await self._bus.publish(self._verdict_on, self._final)
        await self._rest(self)

    async def bury(self, reason: str, cause: dead.Cause = "failed") -> None:
        """Moves it to the dead: copied there first, only then taken from the queue."""
        project = self.work.project
        letter = DeadLetter(
            kind=self.work.kind, key=self.work.work_id, reason=reason, attempts=min(self.attempt, self._max_attempts),
            cause=cause, subject=self.subject, content=self._content,
        )  # fmt: skip
        key = f"{self.work.message_id}-{self.sequence}"
        await self._patiently(lambda: dead.bury(self._bus, project, letter, key))
        log.error("%s failed for good after %d attempts: %s", self.name, letter.attempts, reason)
        await self._settle(b"+TERM")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if not self._settled:
            await self.release()

    async def _settle(self, verdict: bytes) -> None:
        if self._settled:
            raise RuntimeError(f"the claim of {self.name} was settled before")
        self._settled = True
        try:
            # As a request: JetStream confirms that it has the verdict. It is silent about what it forgot to have
            # delivered; that comes again when somebody pulls.
            await self._patiently(lambda: self._bus.request(self._verdict_on, verdict), self._recall)
            self._final = b"" if verdict.startswith(b"-NAK") else verdict
        finally:
            if self._beating:
                self._beating.cancel()
            await (self._rest(self) if self._final else self.forget())

    async def forget(self) -> None:
        """Nobody who is given it again is told of it any more."""
        if self._questions:
            await self._questions.aclose()

    async def _patiently(
        self, ask: Callable[[], Awaitable[object]], otherwise: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        deadline = clock.now() + PATIENCE
        while True:
            try:
                await ask()
                return
            except SubjectDenied:
                raise
            except BusError as error:
                if clock.now() > deadline:
                    raise BusError(f"{self.name} could not be settled: {error}") from None
                await (otherwise() if otherwise else asyncio.sleep(0.1))

    async def _still_mine(self, question: Msg) -> None:
        delivery = question.data.decode(errors="replace")
        prefix = f"$JS.ACK.{subjects.WORK}.{subjects.work_consumer(self.work.project, self.work.lane)}."
        if delivery.startswith(prefix):
            self._verdict_on = delivery
            await self._bus.publish(delivery, self._final or b"+WPI")
            await self._bus.respond(question, b"mine")

    async def _beat(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            if self._bus.connected.is_set():
                await self._bus.publish(self._verdict_on, b"+WPI")
