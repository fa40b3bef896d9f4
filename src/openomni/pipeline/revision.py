"""An utterance while nobody knows yet whether it is over: what runs ahead of that, with its output held back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .. import clock
from ..events import Heard, SessionOutput
from ..records import PauseRecord
from .spec import StageSpec
from .task import TaskTrace
from .turn import Turn
from .turn_taking import SpeechEnded

Emit = Callable[[SessionOutput], Awaitable[None]]


class Gate:
    """Lets a reply out while it is open, and keeps it, in its order, while it is not."""

    def __init__(self, out: Emit) -> None:
        self._out = out
        self._kept: deque[SessionOutput] = deque()
        self._open = False
        self._passing = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def is_open(self) -> bool:
        return self._open

    async def emit(self, event: SessionOutput) -> None:
        if not self._open or self._kept:
            self._kept.append(event)
            self._empty.clear()
        else:
            await self._out(event)

    async def open(self) -> None:
        """Returns once what was kept is out, or the gate was closed again."""
        self._open = True
        if self._passing:
            return
        self._passing = True
        try:
            while self._open and self._kept:
                # It stays the first in line until it is out: what is emitted meanwhile queues behind it.
                await self._out(self._kept[0])
                if self._kept:
                    self._kept.popleft()
            if not self._kept:
                self._empty.set()
        finally:
            self._passing = False

    def close(self) -> None:
        self._open = False

    def drop(self) -> None:
        """What is kept is not wanted any more."""
        self._open = False
        self._kept.clear()
        self._empty.set()

    async def emptied(self) -> None:
        """Returns once nothing is kept."""
        await self._empty.wait()


class Revision:
    """One try at answering an utterance as far as it is known, up to sample `end`. `begin`, then `stop` or keep it."""

    def __init__(self, turn: Turn, end: int, out: Emit, tell: Emit) -> None:
        """`out` is where the reply goes once the gate is open; `tell` takes what is heard, at once."""
        self.turn = turn
        self.end = end
        self.sound: tuple[int, int] | None = None
        """From which sample to which its sound comes; None for what was typed."""
        self.gate = Gate(out)
        self.running: asyncio.Task[None]
        self.decided = False
        """It is known that the utterance ended: what was heard is final."""
        self.transcript: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The final transcript; cancelled when there will be none."""
        self.read = asyncio.Event()
        """A language model has read it, or need not, or will not."""
        self.ending: float | None = None
        """How likely it ends where it does, as read."""
        self._tell = tell
        self._heard: Heard | None = None
        turn.emit = self._emit

    def begin(self) -> asyncio.Task[None]:
        self.running = asyncio.create_task(self.turn.run(), name=f"turn {self.turn.turn_id}:{self.turn.revision}")
        self.running.add_done_callback(self._over)
        return self.running

    def supersede(self) -> None:
        """The person spoke on: nothing of it shows."""
        self.turn.superseded = True
        self.running.cancel()

    async def decide(self) -> None:
        """The utterance ended here: what was heard stands."""
        self.decided = True
        if self._heard is not None:
            await self._tell(self._heard)

    def _over(self, _: asyncio.Task[None]) -> None:
        self.transcript.cancel()
        self.read.set()

    async def _emit(self, event: SessionOutput) -> None:
        if not isinstance(event, Heard):
            self.read.set()
            await self.gate.emit(event)
            return
        if event.final and not self.transcript.done():
            self.transcript.set_result(event.text)
        if self.decided:
            await self._tell(event)
            return
        self._heard = event
        await self._tell(Heard(event.turn_id, event.text, final=False))


@dataclass(slots=True)
class Draft:
    """An utterance that began at sample `start` and is not answered yet."""

    turn_id: str
    start: int
    challenges: bool = False
    """It began while a reply was made or heard, and nobody knows yet whether it is an interruption."""
    dismissed: bool = False
    """It was none: the reply goes on."""
    goes_on_from: int | None = None
    """It began before anything was heard of a reply: should it be more than a noise, it goes on with what that answers,
    which began at this sample."""
    announced: bool = False
    ended: SpeechEnded | None = None
    decided: float = 0.0
    """When its end was, on this clock."""
    revision: Revision | None = None
    revisions: int = 0
    superseded: list[TaskTrace] = field(default_factory=list)
    pauses: list[PauseRecord] = field(default_factory=list)
    recognised: int = 0
    """Up to which sample it was recognised while the person spoke on."""
    recognising: asyncio.Task[None] | None = None

    def begin_task(self, stage: StageSpec) -> TaskTrace:
        """One stage alone, while the person speaks on: it counts among what was superseded."""
        task = TaskTrace(stage, self.revisions)
        self.revisions += 1
        self.superseded.append(task)
        task.ready = clock.now()
        return task

    def supersede(self) -> None:
        """Gives up what ran ahead."""
        if self.revision is not None:
            self.revision.supersede()
            for task in self.revision.turn.tasks:
                task.supersede()
            self.superseded += self.revision.turn.tasks
            self.revision = None
