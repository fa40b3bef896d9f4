"""What the server kept of a call, against what was said and played: sound to the frame, history to the word."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import httpx

from .. import clock
from ..client.caller.caller import SyntheticCaller
from ..client.caller.measured import missing_blocks
from ..media import Audio, MediaError
from . import corpus

HEADER = 44
"""Bytes in front of the samples of a WAV as the gateway records it."""
PATIENCE_S = 30.0
SAME = 0.6
"""How alike what was heard and what was written must be, for the tail of the one to be judged by the other."""
SHORTEST_S = 0.4
LATE_S, SLACK_S = 0.06, 0.07
"""How late the recogniser puts words, and how exactly it knows. Beside the voice's own times, the middle half of its
starts lies between 0.01 s before and 0.09 s after, of its ends between 0 and 0.13 s after."""

_WORD = re.compile(r"[a-z0-9']+")


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


@dataclass(frozen=True, slots=True)
class HeardWords:
    """What a recogniser hears of a reply that was cut: `words` of all that came, of which at least the first `least`
    were played and at most the first `most`. The word that the cut went through may count or not."""

    words: tuple[str, ...]
    least: int
    most: int

    @property
    def text(self) -> str:
        """What was surely played, and in brackets what may have been."""
        sure, unsure = " ".join(self.words[: self.least]), " ".join(self.words[self.least : self.most])
        return f"{sure} [{unsure}]".strip() if unsure else sure


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
            found[reply.turn_id] = heard_until(Audio.load(folder / f"{reply.turn_id}.wav"), reply.played)
    return found


def heard_until(sound: Audio, played: float) -> HeardWords:
    """Of a reply's sound, when its first `played` seconds were."""
    words = [
        (word, start, end) for text, start, end in corpus.timed_words(sound) for word in _WORD.findall(text.lower())
    ]
    least = sum(end - LATE_S <= played - SLACK_S for _, _, end in words)
    most = sum(start - LATE_S < played + SLACK_S for _, start, _ in words)
    return HeardWords(tuple(word for word, _, _ in words), least, most)


def words_off(written: str, heard: HeardWords) -> int | None:
    """How many words more, or fewer, a text has than were played; None where it is too different from what was heard
    to say. A word that was only heard wrongly makes no difference."""
    told, words = _WORD.findall(written.lower()), list(heard.words)
    if not words:
        return None if told else 0
    blocks = [each for each in SequenceMatcher(None, told, words, autojunk=False).get_matching_blocks() if each.size]
    if sum(each.size for each in blocks) < SAME * min(len(told), heard.least):
        return None
    shared = (blocks[-1].a + blocks[-1].size, blocks[-1].b + blocks[-1].size) if blocks else (0, 0)
    count = shared[1] + len(told) - shared[0]
    return max(heard.least - count, count - heard.most, 0)
