"""What the server kept of a call, against what was said and played: sound to the frame, history to the word."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx

from .. import clock
from ..client.caller.caller import SyntheticCaller
from ..client.caller.measured import missing_blocks
from ..media import Audio, MediaError
from ..metrics.heard import SHORTEST_S, HeardWords, heard_until, words_off
from . import corpus

__all__ = ["HeardWords", "frames_lost", "heard_words", "words_off"]

HEADER = 44
"""Bytes in front of the samples of a WAV as the gateway records it."""
PATIENCE_S = 30.0


# ---- the recording ----


async def frames_lost(client: httpx.AsyncClient, caller: SyntheticCaller) -> int | None:
    """Blocks of 20 ms that the microphone gave and the recording does not hold as they were; None when there is no
    complete recording."""
    recording = next((turn["recording"] for turn in caller.turns if turn["recording"]), "")
    if not recording or not await _complete(client, recording):
        return None
    content = await client.get(f"/api/v1/recordings/{recording}/content")
    return missing_blocks(caller.room.sent, content.content[HEADER:]) if content.is_success else None


async def _complete(client: httpx.AsyncClient, recording: str) -> bool:
    deadline = clock.now() + PATIENCE_S
    while clock.now() < deadline:
        answer = await client.get(f"/api/v1/recordings/{recording}")
        if answer.is_success and answer.json()["status"] == "complete":
            return True
        await asyncio.sleep(0.5)
    return False


# ---- the history ----


def heard_words(caller: SyntheticCaller, folder: Path, most: int = 30) -> dict[str, HeardWords]:
    """Of each reply, by its turn, that was cut while it was heard. `folder` has the replies' sound.

    The recogniser gets what came, which mostly goes on after the cut: of a sound that ends within a word it makes up
    the rest. Takes a while; nothing is measured then.
    """
    found: dict[str, HeardWords] = {}
    for reply in caller.replies.values():
        if not reply.cut or reply.audible is None or reply.played < SHORTEST_S or len(found) == most:
            continue
        with contextlib.suppress(MediaError):
            words = corpus.timed_words(Audio.load(folder / f"{reply.turn_id}.wav"))
            found[reply.turn_id] = heard_until(words, reply.played)
    return found
