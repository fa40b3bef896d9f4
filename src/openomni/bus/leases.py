"""Leases on machines: whoever measures on one has it for itself among those who measure.

A key of a bucket a machine. Its holder says again that it lives; without that the bus drops the key a few seconds
later. What is held is one project's: agents of two projects on one machine know nothing of each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from .. import clock
from ..background import Background
from . import subjects
from .connection import Bus
from .streams import LEASE_S

log = logging.getLogger(__name__)

BEAT_S = LEASE_S / 4
LOOK_S = 0.25
"""How often it is tried again to get what another one holds."""


class LeasesHeld:
    """What one holder has. `lost` is set when one of them is, or may be, somebody else's."""

    def __init__(self, machines: list[str]) -> None:
        self.machines = machines
        self.lost = asyncio.Event()
        self._revisions: dict[str, int] = {}


class Leases:
    """Those of a project."""

    def __init__(self, bus: Bus, project: str) -> None:
        self._bus, self._project = bus, project
        # Not asked for by name: that would need to know about the whole bucket, which is every project's.
        self._bucket = KeyValue(
            name=subjects.LEASES, stream=subjects.LEASE_STREAM, pre=f"$KV.{subjects.LEASES}.", js=bus.jetstream,
            direct=True,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def hold(self, machines: Iterable[str], holder: str) -> AsyncIterator[LeasesHeld]:
        """Waits until all of them are ours, and holds them while the block runs.

        They are taken in one order everywhere, so that two who want some of the same never wait for each other.
        """
        held = LeasesHeld(sorted(set(machines)))
        heard = clock.now()
        beating: Background | None = None

        async def beat() -> None:
            nonlocal heard
            while True:
                await asyncio.sleep(BEAT_S)
                if await self._renew(held, holder):
                    heard = clock.now()
                elif clock.now() - heard > LEASE_S - BEAT_S:
                    held.lost.set()

        try:
            beating = Background(beat, "holding machines for a measurement", longest=BEAT_S)
            for machine in held.machines:
                held._revisions[machine] = await self._take(machine, holder)
            yield held
        finally:
            if beating is not None:
                await beating.stop()
            await asyncio.shield(self._release(held))

    async def holders(self, machines: Iterable[str]) -> dict[str, str]:
        """Who holds which of these machines."""
        found: dict[str, str] = {}
        for machine in machines:
            with contextlib.suppress(KeyNotFoundError, NatsError, TimeoutError):
                entry = await self._bucket.get(subjects.lease(self._project, machine))
                found[machine] = (entry.value or b"").decode(errors="replace")
        return found

    async def _take(self, machine: str, holder: str) -> int:
        while True:
            try:
                return await self._bucket.create(subjects.lease(self._project, machine), holder.encode())
            except KeyWrongLastSequenceError:
                pass  # another one has it
            except (NatsError, TimeoutError) as error:
                log.warning("machine %s can't be leased: %s", machine, error)
            await asyncio.sleep(LOOK_S)

    async def _renew(self, held: LeasesHeld, holder: str) -> bool:
        """Whether all of them are ours still."""
        for machine, revision in list(held._revisions.items()):
            key = subjects.lease(self._project, machine)
            try:
                held._revisions[machine] = await self._bucket.update(key, holder.encode(), revision)
            except KeyWrongLastSequenceError:
                held.lost.set()
                return False
            except (NatsError, TimeoutError) as error:
                log.warning("the lease of machine %s can't be renewed: %s", machine, error)
                return False
        return True

    async def _release(self, held: LeasesHeld) -> None:
        """What is not told in time expires by itself."""
        for machine, revision in held._revisions.items():
            with contextlib.suppress(NatsError, TimeoutError):
                await self._bucket.delete(subjects.lease(self._project, machine), revision)
