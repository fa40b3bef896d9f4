"""What the server kept of a call, against what was said and played: sound to the frame, history to the word."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import httpx

from .. import clock
from ..client.listener.sources import BLOCK
from ..media import Audio, MediaError
from . import corpus
from .caller import Caller

HEADER = 44
"""Bytes in front of the samples of a WAV as the gateway records it."""
PATIENCE_S = 30.0
SAME = 0.6
"""How alike what was heard and what was written must be, for the tail of the one to be judged by the other."""
SHORTEST_S = 0.4

_WORD = re.compile(r"[a-z0-9']+")


# ---- the recording ----


async def frames_lost(client: httpx.AsyncClient, caller: Caller) -> int | None:
    """Blocks of 20 ms that the microphone gave and the recording does not hold as they were; None when there is no
    complete recording."""
    recording = next((turn["recording"] for turn in caller.turns if turn["recording"]), "")
    if not recording or not await _complete(client, recording):
        return None
    content = await client.get(f"/api/v1/recordings/{recording}/content")
    return missing_blocks(caller.room.sent, content.content[HEADER:]) if content.is_success else None


def missing_blocks(sent: Sequence[bytes], kept: bytes) -> int:
    """How many of the blocks are not in their place in `kept` (PCM16)."""
    size = 2 * BLOCK
    return sum(kept[number * size : (number + 1) * size] != block for number, block in enumerate(sent))


async def _complete(client: httpx.AsyncClient, recording: str) -> bool:
    deadline = clock.now() + PATIENCE_S
    while clock.now() < deadline:
        answer = await client.get(f"/api/v1/recordings/{recording}")
        if answer.is_success and answer.json()["status"] == "complete":
            return True
        await asyncio.sleep(0.5)
    return False


# ---- the history ----


def played_words(caller: Caller, folder: Path, most: int = 30) -> dict[str, str]:
    """What a recogniser hears of each reply, by its turn, that was cut while it was heard: of as much as was played.

    `folder` has the replies' sound. Takes a while; nothing is measured then.
    """
    found: dict[str, str] = {}
    for reply in caller.replies.values():
        if not reply.cut or reply.audible is None or reply.played < SHORTEST_S or len(found) == most:
            continue
        try:
            sound = Audio.load(folder / f"{reply.turn_id}.wav").cut(0.0, reply.played)
        except MediaError:
            continue
        found[reply.turn_id] = corpus.transcribe(sound)
    return found


def tail_difference(written: str, heard: str) -> int | None:
    """How many words more, or fewer, one text has after the last word that both share; None where they are too
    different to say. A word that was only heard wrongly makes no difference."""
    texts = _WORD.findall(written.lower()), _WORD.findall(heard.lower())
    if not all(texts):
        return len(texts[1]) or None  # words were heard of which none is written; or nothing was understood
    blocks = [each for each in SequenceMatcher(None, *texts, autojunk=False).get_matching_blocks() if each.size]
    if sum(each.size for each in blocks) < SAME * min(map(len, texts)):
        return None
    last = blocks[-1]
    tails = len(texts[0]) - (last.a + last.size), len(texts[1]) - (last.b + last.size)
    return abs(tails[0] - tails[1])
