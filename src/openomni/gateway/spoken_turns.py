"""The turns that were spoken at the sites of this gateway, for responders to report on."""

from __future__ import annotations

REPORTED_TURNS = 4096
"""Turns of all sites together whose playback may still be reported."""

SpokenTurn = tuple[str, str, str]
"""Project, site, turn."""


class SpokenTurns:
    """Which session a turn that was spoken at a site belongs to, as the subject's token. It outlives a responder's
    connection: one that lost its line reports, when it is back, on what it played meanwhile."""

    def __init__(self) -> None:
        self._tokens: dict[SpokenTurn, str] = {}

    def put(self, turn: SpokenTurn, token: str) -> None:
        self._tokens[turn] = token
        while len(self._tokens) > REPORTED_TURNS:
            del self._tokens[next(iter(self._tokens))]

    def get(self, turn: SpokenTurn) -> str | None:
        return self._tokens.get(turn)
