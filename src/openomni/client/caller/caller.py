"""A synthetic caller: it speaks into a microphone in a quiet room, in real time, and notes what it hears.

All else is the real listener, over the real path. The caller hears no echo: its microphone gets its own voice only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ... import clock
from ...events import AXIS_RATE
from ..connection import Link
from ..listener.listener import Listener, Told
from ..replies import ReplyFolder
from ..responder.sinks import Report
from .ear import Ear, HeardReply
from .room import Room, SaidUtterance
from .utterance import SpokenUtterance

LEAD_IN_S = 1.0
"""Nothing is said before the room was heard for a moment."""


class SyntheticCaller:
    """One session: what was said, what was heard, and at its end the turns as the server recorded them."""

    def __init__(self, seed: int) -> None:
        self.room = Room(seed)
        self.said: list[SaidUtterance] = []
        self.turns: list[dict[str, Any]] = []
        self.notices: list[str] = []
        self.lost_seconds = 0.0
        self.breaks: list[str] = []
        """Why the session had gaps."""
        self.session_id = ""
        self.replies: dict[str, HeardReply] = {}
        self.over: list[dict[str, Any]] = []
        """The turns of which no better account is to be expected."""
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def call(
        self, server: str, token: str, pipeline: str, folder: Path, **hello: str | bool
    ) -> AsyncIterator[None]:
        """The session lasts as long as the block, and until the last reply was heard; replies are kept in `folder`.
        `hello`: what else the gateway is told of it. Raises OpenOmniError when the session breaks, and ends the block
        for it."""
        told_gateway = {"role": "listener", "audio": "binary", "rate": AXIS_RATE, "source": "bench", "output": True}
        path = f"/v1/realtime?model={quote(pipeline, safe='')}"
        told = Told(turn=self._turn_over, notice=self.notices.append, text=self._reads)
        async with Link(server, token, path, told_gateway | hello) as link:
            self.session_id = link.session_id
            listener = Listener(link, self.room, self._ear, ReplyFolder(folder), told,
                                reports=True, full_duplex=True, wait=True)  # fmt: skip
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(listener.run())
                    await asyncio.sleep(LEAD_IN_S)
                    yield
                    self.room.stop()
            except BaseExceptionGroup as several:
                raise first_cause(several) from None
            finally:
                self.turns = listener.turns
                self.lost_seconds = listener.undelivered.seconds
                self.breaks = listener.breaks

    def _ear(self, report: Report) -> Ear:
        self.ear = Ear(report, self._news.set)
        self.replies = self.ear.replies
        return self.ear

    def _turn_over(self, turn: dict[str, Any]) -> None:
        self.over.append(turn)
        self._news.set()

    def _reads(self, turn_id: str, text: str) -> None:
        self.ear.says(turn_id, text)
        self._news.set()

    async def say(self, utterance: SpokenUtterance) -> SaidUtterance:
        """Returns when its last sample was spoken."""
        said = self.begin(utterance)
        await asyncio.sleep(max(said.end - clock.now(), 0.0))
        return said

    def begin(self, utterance: SpokenUtterance, at: float | None = None) -> SaidUtterance:
        """From now on, or with its sound from the stamp `at` on."""
        said = self.room.say(utterance, at)
        self.said.append(said)
        return said

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits, for so long at most, until something heard makes it true."""
        deadline = clock.now() + seconds
        while not condition():
            self._news.clear()
            wait = deadline - clock.now()
            if wait <= 0:
                return False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), wait)
        return True

    def answering(self, said: SaidUtterance) -> HeardReply | None:
        """The reply that became audible after the end of an utterance."""
        found = [reply for reply in self.replies.values() if reply.audible is not None and reply.audible >= said.end]
        return min(found, key=lambda reply: reply.audible or 0.0, default=None)

    @property
    def being_heard(self) -> list[HeardReply]:
        return [reply for reply in self.replies.values() if reply.over is None]


def first_cause(error: BaseException) -> BaseException:
    """The one line for a person, out of a group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
