"""Listens at the gateway for replies to a site and has a sink play them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from ..connection import Down, Link, Received, Up
from ..wire import Playback, ReplyChunk
from .sinks import Report, Sink

Notice = Callable[[str], None]
STALE_S = 3.0
"""How long after a break a reply may stay without more sound before it is taken for complete."""


class Responder:
    """Plays the replies of a site until `stop`; a gateway that goes away is waited for.

    `new_sink` is given where to report to; `notice` gets a line for a person when something happens; `ready` is
    called once it is connected.
    """

    def __init__(
        self,
        server: str,
        token: str,
        site: str,
        new_sink: Callable[[Report], Sink],
        notice: Notice,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        path = f"/v1/respond?site={quote(site)}" if site else "/v1/respond"
        self._link = Link(server, token, path, {"role": "responder", "audio": "binary"})
        self._new_sink = new_sink
        self._notice = notice
        self._ready = ready
        self._reports: asyncio.Queue[Playback] = asyncio.Queue()
        self._stopped = False
        self._unended: dict[str, int] = {}
        """Replies whose end has not been said, with the offset of their newest sound."""

    async def run(self) -> None:
        """Raises OpenOmniError when the sink cannot be opened, or the gateway says no."""
        # The sink first: without a loudspeaker there is nothing to connect for.
        self._sink = self._new_sink(self._reports.put_nowait)
        try:
            async with self._link:
                self._notice(f"connected to {self._link.server}; waiting for replies (Ctrl-C stops)")
                self._ready()
                reporting = asyncio.create_task(self._report())
                try:
                    while not self._stopped:  # a gateway that says goodbye comes back, too
                        await self._link.run(self._receive)
                finally:
                    reporting.cancel()
        finally:
            await self._sink.close()

    def stop(self) -> None:
        self._stopped = True
        self._closing = asyncio.get_running_loop().create_task(self._link.close())

    def _receive(self, message: Received) -> None:
        match message:
            case ReplyChunk():
                self._unended[message.turn_id] = message.offset
                self._sink.play(message)
            case Down(reason):
                self._notice(f"{reason}; trying again")
            case Up():
                self._notice("connected again")
                asyncio.get_running_loop().call_later(STALE_S, self._end_stale, dict(self._unended))
            case {"type": "openomni.reply.ended", "turn_id": str(turn_id)}:
                self._end(turn_id, str(message.get("status", "completed")))
            case {"type": "openomni.reply.paused", "turn_id": str(turn_id)}:
                self._sink.pause(turn_id)
            case {"type": "openomni.reply.resumed", "turn_id": str(turn_id)}:
                self._sink.resume(turn_id)
            case {"type": "error", "error": {"code": "unknown_turn"}}:
                pass  # a report that was sent again, to a gateway that was not there when the turn was heard
            case {"type": "error"}:
                self._notice(error_line(message))

    def _end(self, turn_id: str, status: str) -> None:
        self._unended.pop(turn_id, None)
        self._sink.end(turn_id, status)

    def _end_stale(self, before: dict[str, int]) -> None:
        """Their end was said while nobody listened."""
        for turn_id, offset in before.items():
            if self._unended.get(turn_id) == offset:
                self._end(turn_id, "completed")

    async def _report(self) -> None:
        while True:
            playback = await self._reports.get()
            await self._link.report(playback)
            if playback.ended:
                self._notice(f"played {playback.seconds:.1f} s of turn {playback.turn_id[:8]}")


def error_line(event: dict[str, Any]) -> str:
    """What an error event says, for people."""
    error = event.get("error") or {}
    return str(error.get("message") or error)
