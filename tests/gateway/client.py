"""A client of the live door without a socket: what it sends, what it is answered, and what the host is told."""

from __future__ import annotations

import json
from typing import Any

from openomni.events import SessionInput, SessionOutput
from openomni.gateway.inbox import Inbox
from openomni.gateway.narrator import Narrator
from openomni.gateway.protocol import ProtocolError
from openomni.gateway.settings import SessionSettings

Json = dict[str, Any]


class Client:
    """`told_host` collects what reaches the host."""

    def __init__(self, opted_in: bool = True) -> None:
        self.told_host: list[SessionInput] = []
        self._answers: list[Json] = []
        self.settings = SessionSettings("s" * 32, "local")
        self.narrator = Narrator("s" * 32, opted_in=opted_in)
        self.inbox = Inbox(self.settings, self.narrator, self._to_host, self._say, opted_in)
        self.narrator.follow(self.settings)

    async def sends(self, message: Json | str | bytes) -> list[Json]:
        """What it is answered. Anything but a protocol's error comes out as it is."""
        self._answers = []
        try:
            if isinstance(message, bytes):
                await self.inbox.binary(message)
            else:
                await self.inbox.text(message if isinstance(message, str) else json.dumps(message))
        except ProtocolError as fault:
            self._answers.append(json.loads(fault.event))
        return self._answers

    def hears(self, *outputs: SessionOutput) -> list[Json | bytes]:
        """What the host says, as it is told."""
        told = [message for output in outputs for message in self.narrator.tell(output)]
        return [message if isinstance(message, bytes) else json.loads(message) for message in told]

    async def _to_host(self, event: SessionInput) -> None:
        self.told_host.append(event)

    async def _say(self, message: str) -> None:
        self._answers.append(json.loads(message))
