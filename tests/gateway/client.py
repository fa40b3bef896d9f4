"""A client of the live door without a socket: what it sends, what it is answered, and what the host is told."""

from __future__ import annotations

import json
from typing import Any

from openomni.events import SessionInput, SessionOutput
from openomni.gateway.client_events import ClientEvents
from openomni.gateway.protocol import ProtocolError
from openomni.gateway.realtime_settings import RealtimeSettings
from openomni.gateway.server_events import ServerEvents

Json = dict[str, Any]


class Client:
    """`told_host` collects what reaches the host."""

    def __init__(self, opted_in: bool = True) -> None:
        self.told_host: list[SessionInput] = []
        self._answers: list[Json] = []
        self.settings = RealtimeSettings("s" * 32, "local")
        self.events = ServerEvents("s" * 32, opted_in=opted_in)
        self.client_events = ClientEvents(self.settings, self.events, self._to_host, self._say, opted_in)
        self.events.turns.follow(self.settings)

    async def sends(self, message: Json | str | bytes) -> list[Json]:
        """What it is answered. Anything but a protocol's error comes out as it is."""
        self._answers = []
        try:
            if isinstance(message, bytes):
                await self.client_events.binary(message)
            else:
                await self.client_events.text(message if isinstance(message, str) else json.dumps(message))
        except ProtocolError as fault:
            self._answers.append(json.loads(fault.event))
        return self._answers

    def hears(self, *outputs: SessionOutput) -> list[Json | bytes]:
        """What the host says, as it is told."""
        told = [message for output in outputs for message in self.events.tell(output)]
        return [message if isinstance(message, bytes) else json.loads(message) for message in told]

    async def _to_host(self, event: SessionInput) -> None:
        self.told_host.append(event)

    async def _say(self, message: str) -> None:
        self._answers.append(json.loads(message))
