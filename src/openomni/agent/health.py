"""How much this agent does at once, and how it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Job = Literal["call", "turn", "session"]

SESSIONS_PER_SLOT = 8
"""A session mostly listens: a slot, which one stage call or one queued turn takes, serves several of them."""


class Busy(Exception):
    """There is no room for another job of that sort; the message says why, for the one who asked."""


class AgentHealth:
    """Counts the jobs under way against `slots`, and collects complaints.

    Live work comes first: at most `turns` slots are for queued turns, and one while sessions are open. A call whose
    component never returned keeps its slot (`stuck`) until it does.
    """

    def __init__(self, slots: int, turns: int = 1) -> None:
        self.slots = slots
        self.turns = turns
        self.draining = False
        self.stuck: Callable[[], int] = lambda: 0
        """How many component calls were given up on and still hold their thread."""
        self.on_change: Callable[[], None] = lambda: None
        self.cells: list[str] = []
        """Of the experiments that open sessions measure."""
        self.leases: list[str] = []
        """Machines that this agent measures on, as a caller."""
        self._jobs: dict[Job, int] = {"call": 0, "turn": 0, "session": 0}
        self.complaints: dict[str, str] = {}
        """What is wrong, by what it is about; an empty text takes it back."""
        self._changed = asyncio.Event()

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self._jobs["call"] + self._jobs["turn"] + self.stuck()

    @property
    def sessions(self) -> int:
        return self._jobs["session"]

    @property
    def idle(self) -> bool:
        return not any(self._jobs.values())

    @property
    def summary(self) -> str:
        """What is wrong, for the fleet page; empty when nothing is."""
        stuck = self.stuck()
        hung = f"{stuck} component call{'s' * (stuck > 1)} never returned" if stuck else ""
        return "; ".join(text for text in (hung, *self.complaints.values()) if text)

    def room(self, job: Job) -> bool:
        """Whether another job of that sort may start now."""
        return not self._reason_against(job)

    @contextmanager
    def hold(self, job: Job, cell: str = "") -> Iterator[None]:
        """Takes room for one job while the block runs; a session may be that of a `cell`. Raises `Busy`."""
        if reason := self._reason_against(job):
            raise Busy(reason)
        self._jobs[job] += 1
        self.cells += [cell] * bool(cell)
        self.changed()
        try:
            yield
        finally:
            self._jobs[job] -= 1
            if cell:
                self.cells.remove(cell)
            self.changed()

    def measures(self, machines: list[str]) -> None:
        """It measures on these machines from here on; on none of them is the end of it."""
        self.leases = machines
        self.changed()

    def drain(self) -> None:
        """From here on nothing new starts."""
        self.draining = True
        self.changed()

    def changed(self) -> None:
        """Wakes those who wait for room or for quiet, and tells the fleet."""
        self._changed.set()
        self._changed = asyncio.Event()
        self.on_change()

    async def until_room(self, job: Job) -> None:
        """Returns once another job of that sort could start; never while draining."""
        while not self.room(job):
            await self._changed.wait()

    async def until_idle(self) -> None:
        """Returns once no job is under way."""
        while not self.idle:
            await self._changed.wait()

    def _reason_against(self, job: Job) -> str:
        if self.draining:
            return "the agent is draining"
        if job == "session":
            full = self.sessions >= self.slots * SESSIONS_PER_SLOT
            return f"it hosts {self.sessions} sessions already" if full else ""
        if self.busy >= self.slots:
            return f"all {self.slots} slots are busy"
        if job == "turn":
            most = 1 if self.sessions else self.turns
            return f"{most} queued turns are under way" if self._jobs["turn"] >= most else ""
        return ""
