"""How far this machine's clock is from the gateway's, kept up to date over the bus."""

from __future__ import annotations

import asyncio
import logging
from typing import Self

import msgspec
from nats.aio.msg import Msg

from .. import clock
from ..background import Background
from ..clock import Offset, OffsetEstimator
from . import subjects
from .connection import Bus, BusError
from .subscription import Subscription

log = logging.getLogger(__name__)

FIRST = 8
"""Round trips made at once; after them one every `every` seconds."""

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[float])


async def serve_clock(bus: Bus) -> Subscription:
    """Answers with this process's clock, as the gateway does: the reference of all live sessions."""

    async def answer(question: Msg) -> None:
        received = clock.now()
        await bus.respond(question, _encode((received, clock.now())))

    return await bus.subscribe(subjects.CLOCK, answer, queue="clock")


class ClockSync:
    """`async with ClockSync(bus) as sync: sync.offset` — add it to a local stamp to get the gateway's."""

    def __init__(self, bus: Bus, every: float = 2.0) -> None:
        self._bus = bus
        self._every = every
        self._estimator = OffsetEstimator()
        self._known = asyncio.Event()
        self._task: Background | None = None

    async def __aenter__(self) -> Self:
        self._task = Background(self._keep, "comparing the clock with the gateway's", longest=5.0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task:
            await self._task.stop()

    @property
    def offset(self) -> Offset | None:
        """As it is now; None until the gateway has answered once."""
        return self._estimator.at(clock.now())

    async def ready(self) -> Offset:
        """Waits for the first answers."""
        await self._known.wait()
        offset = self.offset
        assert offset is not None
        return offset

    async def _keep(self) -> None:
        trips = 0
        while True:
            sent = clock.now()
            try:
                answer = await self._bus.request(subjects.CLOCK, timeout=1.0)
                received = clock.now()
                there, left = _decoder.decode(answer.data)[:2]
                self._estimator.add(sent, there, left, received)
                trips += 1
            except (BusError, msgspec.MsgspecError, ValueError) as error:
                log.debug("no clock from the gateway: %s", error)
                await asyncio.sleep(self._every / 4)
                continue
            if trips >= FIRST:
                self._known.set()
                await asyncio.sleep(self._every)
