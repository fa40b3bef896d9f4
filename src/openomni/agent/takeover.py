"""What the server knows of a session that this agent takes over from another."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from ..bus.sessions import OpenSession
from ..errors import OpenOmniError
from ..pipeline.earlier import NOTHING_EARLIER, Earlier
from ..records import TurnRecord
from ..storage.api import Api

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds that the person waits for it at most; a conversation that forgot its beginning is better than none."""
MOST_TURNS = 100


async def said_before(api: Api, opened: OpenSession) -> Earlier:
    """The session's newest turns; nothing, with a line in the log, when the server is away."""
    session_id = opened.session_id
    try:
        async with asyncio.timeout(PATIENCE):
            page = await api.get("/turns", session=session_id, limit=MOST_TURNS)
        return Earlier.of(
            msgspec.convert(page["items"], list[TurnRecord]), {each.turn_id for each in opened.unfinished}
        )
    except (OpenOmniError, TimeoutError, msgspec.ValidationError, KeyError) as error:
        log.warning("session %s goes on without what was said before: %s", session_id, str(error) or "no answer")
        return NOTHING_EARLIER
