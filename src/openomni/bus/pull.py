"""Pulling from a durable consumer: never more than asked for, and on again after any outage."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from typing import Self

from nats.aio.msg import Msg

from .. import clock
from .connection import Bus
from .subscription import Subscription, status

log = logging.getLogger(__name__)

EXPIRES = 30.0
"""Seconds that the server keeps a pull open."""
GRACE = 2.0
"""Seconds after which a pull of which nothing more was heard is made again."""
SETTLE = 1.0
"""Seconds after a reconnect before the next pull: those who hold claims come back first."""
CHECK = 0.25
"""Seconds between looks whether the connection is still the one that the pull was made on."""
LONGEST_PAUSE = 2.0
"""Seconds before asking again, at most, while the stream or its consumer is not there."""
_NONE_LEFT = {"404", "408"}


class Puller:
    """`async with Puller(bus, stream, consumer, subject) as puller: message = await puller.next()`.

    `subjects` are those that the consumer's messages carry; anything else that reaches the inbox is dropped.
    """

    def __init__(self, bus: Bus, stream: str, consumer: str, *subjects: str, batch: int = 1) -> None:
        self._bus = bus
        self._asks_on = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._subjects = subjects
        self._batch = batch
        self._open = 0
        self._reconnects = bus.reconnects
        self._deadline = 0.0
        self._refusals = 0
        self._kept: deque[Msg] = deque()
        self._inbox = ""
        self._messages: Subscription | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """The server forgets the pull as soon as nobody listens on its inbox."""
        if self._messages:
            await self._messages.aclose()

    async def next(self) -> Msg:
        """Waits for a message, over outages too. May be cancelled: none is lost."""
        assert self._messages is not None, "open the puller with `async with`"
        while True:
            if message := self.next_nowait():
                return message
            if not self._open or self._reconnects != self._bus.reconnects or clock.now() > self._deadline:
                await self._ask()
            try:
                async with asyncio.timeout(CHECK):
                    message = await anext(self._messages)
            except TimeoutError:
                continue
            if self._counts(message):
                return message
            await self._pause(status(message))

    def next_nowait(self) -> Msg | None:
        """A message that is already here."""
        assert self._messages is not None
        if self._kept:
            return self._kept.popleft()
        while message := self._messages.take_nowait():
            if self._counts(message):
                return message
        return None

    async def withdraw(self) -> None:
        """Asks for nothing more until the next `next`. What was on its way by then is given by `next_nowait`."""
        if self._open:
            await self._listen(drain=True)
            self._open = 0

    async def _listen(self, drain: bool = False) -> None:
        """On an inbox of its own per connection: what an older pull is still given must not come on top."""
        if self._messages:
            await (self._messages.drain() if drain else self._messages.aclose())
            while message := self._messages.take_nowait():
                if not status(message):
                    self._kept.append(message)
        self._inbox = self._bus.inbox()
        self._messages = await self._bus.subscribe(self._inbox, limit=self._batch * 4 + 16, accept=self._subjects)

    async def _ask(self) -> None:
        await self._bus.connected.wait()
        if self._reconnects != self._bus.reconnects:
            self._reconnects = self._bus.reconnects
            await self._listen()
            await asyncio.sleep(SETTLE)
        self._open = self._batch
        self._deadline = clock.now() + EXPIRES + GRACE
        request = {"batch": self._batch, "expires": int(EXPIRES * 1e9)}
        await self._bus.publish(self._asks_on, json.dumps(request).encode(), self._inbox)

    def _counts(self, message: Msg) -> bool:
        """Whether it is a message; a status ends the pull."""
        if status(message):
            self._open = 0
            return False
        self._refusals = 0
        self._open = max(self._open - 1, 0)
        return True

    async def _pause(self, code: str) -> None:
        if code in _NONE_LEFT:
            self._refusals = 0
            return
        # 409 and 503: the stream is moving, or not there yet.
        if not self._refusals:
            log.info("pull on %s answered with %s; asking again", self._asks_on, code)
        await asyncio.sleep(min(CHECK * 2**self._refusals, LONGEST_PAUSE))
        self._refusals = min(self._refusals + 1, 8)
