"""Groups of work that were cancelled: what an agent has of them is dropped, and what still reaches it, too."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec
from nats.aio.msg import Msg

from ..bus import subjects
from ..bus.claim import Claim
from ..bus.connection import Bus
from ..bus.envelope import NO_GROUP, Cancelled, Work
from ..bus.subscription import Subscription

REMEMBERED = 1_000
"""Groups; what was on its way when one was cancelled comes soon or never."""


class CancelledGroups:
    """Hears what is cancelled, and ends the tasks that run it."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()
        """By group, the Unix time up to which its work was cancelled: what was queued later is wanted."""
        self._running: dict[asyncio.Task[None], Claim] = {}

    async def listen(self, bus: Bus, project: str) -> Subscription:
        """Until the subscription is closed."""
        return await bus.subscribe(subjects.cancelled(project), self._heard)

    def watch(self, task: asyncio.Task[None], claim: Claim) -> None:
        """`task` does what was claimed, and is cancelled with its group."""
        self._running[task] = claim
        task.add_done_callback(self._running.pop)

    def covers(self, work: Work) -> bool:
        """Whether it is wanted no more."""
        return work.group != NO_GROUP and work.ready_at <= self._until.get(work.group, 0.0)

    async def _heard(self, message: Msg) -> None:
        try:
            told = msgspec.json.decode(message.data, type=Cancelled)
        except msgspec.MsgspecError:
            return  # of another version
        self._until[told.group] = max(told.at, self._until.pop(told.group, 0.0))
        while len(self._until) > REMEMBERED:
            self._until.popitem(last=False)
        for task, claim in list(self._running.items()):
            if self.covers(claim.work) and not claim.settled:
                await claim.drop()
                task.cancel()
